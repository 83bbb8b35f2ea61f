/** What the pod around us is: its resolvers, its cluster, whose network this is. Read once, before anything is changed. */
import { existsSync, readFileSync } from "node:fs"
import { Effect } from "effect"
import { isAddress } from "../config/address.ts"
import { hasNetAdmin } from "../linux/index.ts"
import { type Exception, type Firewall, type Inbound, parseResolvConf, type ResolvConf } from "../network/index.ts"
import { HostRefused } from "./errors.ts"
import type { ReadyTarget } from "./readycheck.ts"
import type { ConnectMode } from "./retry.ts"

/** What a user may say about the pod's network; the rows of `sidecar/settings.ts`. */
export interface PodSettings {
  /** Undefined: on, except that the machine's own network is never cut off unasked. */
  readonly killSwitch: "on" | "off" | undefined
  /** Networks beside the tunnel. */
  readonly bypass: ReadonlyArray<string>
  /** What may come in through the tunnel. */
  readonly inbound: ReadonlyArray<Inbound>
  readonly dnsMode: "redirect" | "resolvconf" | "off"
  /** Resolvers to ask through the tunnel when the server names none. */
  readonly dns: ReadonlyArray<string>
  /** Domains for the pod's own resolvers, beside the search list of resolv.conf. */
  readonly clusterDomains: ReadonlyArray<string>
  /** What has to answer through the tunnel for the pod to be ready. */
  readonly readyCheck: ReadyTarget | undefined
  readonly connect: ConnectMode
}

export interface Pod {
  readonly settings: PodSettings
  readonly managed: boolean
  readonly resolvConf: ResolvConf
  readonly exceptions: ReadonlyArray<Exception>
  /** Every address and network that is reached beside the tunnel, for routes. */
  readonly direct: ReadonlyArray<string>
}

export const readPod = (settings: PodSettings, environment: Readonly<Record<string, string | undefined>>): Pod => {
  const resolvConf = parseResolvConf(readText(resolvConfPath))
  const exceptions = exceptionsOf(settings.bypass, environment)
  const resolvers = resolvConf.nameservers.filter((address) => !isLoopback(address))
  return {
    settings,
    managed: hasNetAdmin(),
    resolvConf,
    exceptions,
    direct: [...new Set([...exceptions.map(({ network }) => network), ...resolvers])],
  }
}

/** The table before there is a tunnel: only what the pod itself needs. Refuses to cut off a whole machine unasked. */
export const initialFirewall = (pod: Pod): Effect.Effect<Firewall, HostRefused> => {
  const { settings } = pod
  if (settings.killSwitch === undefined && existsSync(onlyOnTheMachineItself)) {
    return Effect.fail(
      new HostRefused({
        message:
          "this is the network of the machine itself, not of a pod (hostNetwork: true?): the kill switch would cut the machine off. Say CULVERT_KILL_SWITCH=off to run without, or CULVERT_KILL_SWITCH=on if that is meant",
      }),
    )
  }
  return Effect.succeed({
    enforced: settings.killSwitch !== "off",
    tunnel: undefined,
    servers: [],
    formerAddresses: [],
    exceptions: pod.exceptions,
    inbound: settings.inbound,
    dns: {
      resolvers: pod.resolvConf.nameservers.filter((address) => !isLoopback(address)),
      resolving: false,
      forwarded: settings.dnsMode !== "off",
      redirectTo: settings.dnsMode === "redirect" ? forwarderPort : undefined,
    },
    earlierUdpPorts: udpPorts(`${readText("/proc/net/udp")}${readText("/proc/net/udp6")}`, ephemeralPorts()),
  })
}

/** The API server is found by the variables that kubelet sets in every container. */
export const exceptionsOf = (
  bypass: ReadonlyArray<string>,
  environment: Readonly<Record<string, string | undefined>>,
): ReadonlyArray<Exception> => {
  const api = environment.KUBERNETES_SERVICE_HOST
  const port = Number(environment.KUBERNETES_SERVICE_PORT ?? 443)
  return [
    ...(api !== undefined && isAddress(api) && Number.isInteger(port)
      ? [{ network: api, tcpPort: port, why: "the cluster's API server" }]
      : []),
    ...bypass.map((network) => ({ network, tcpPort: undefined, why: "CULVERT_BYPASS" })),
  ]
}

/**
 * The ports of /proc/net/udp that the kernel had given out: sockets that sent something. Servers have ports of their own
 * choice, outside of that range, and go on being reached.
 */
export const udpPorts = (
  table: string,
  range: { readonly first: number; readonly last: number },
): ReadonlyArray<number> => {
  const ports = [...table.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /gm)].map((match) =>
    Number.parseInt(match[1]!, 16),
  )
  return [...new Set(ports)].filter((port) => port >= range.first && port <= range.last).sort((a, b) => a - b)
}

export const isLoopback = (address: string): boolean => address.startsWith("127.") || address === "::1"

/** Where the DNS forwarder listens on loopback; a redirect brings queries here, so that port 53 needs no capability. */
export const forwarderPort = 29100

const ephemeralPorts = () => {
  const [first = 32768, last = 60999] = readText("/proc/sys/net/ipv4/ip_local_port_range")
    .trim()
    .split(/\s+/)
    .map(Number)
  return { first, last }
}

/** A file that does not exist is empty. */
export const readText = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

export const resolvConfPath = "/etc/resolv.conf"

/** The kernel shows this only in the network namespace in which the machine was started. */
const onlyOnTheMachineItself = "/proc/sys/net/core/netdev_max_backlog"
