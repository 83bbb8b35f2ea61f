/** The two that are compared: as clients of a real OpenVPN server, and at both ends of a tunnel of their own. */
import { readFileSync } from "node:fs"
import { succeed } from "../test/support/child.ts"
import { bun, project } from "../test/support/culvert.ts"
import { type Lab, type Namespace, outer } from "../test/support/lab.ts"
import { clientConfiguration, OpenVpnServer, type ServerOptions, tunnel } from "../test/support/openvpn.ts"
import type { EndOptions } from "./end.ts"

export const rivals = ["openvpn", "culvert"] as const
export type Rival = (typeof rivals)[number]

/** The command that runs `command`, such as one that enters another userland. */
export type Wrapper = (command: ReadonlyArray<string>) => ReadonlyArray<string>

export interface Running extends AsyncDisposable {
  /** Of the process that is measured: the client. */
  readonly pid: number
  /** Of the far end, inside the tunnel. */
  readonly address: string
  /** How long commands to the data plane take, in ms; only Culvert's ends tell. */
  readonly commandTimes?: () => Promise<ReadonlyArray<number>>
}

/** Compiles the program into `directory`, as the image has it; the path of the executable. */
export async function compile(directory: string): Promise<string> {
  const program = `${directory}/culvert`
  await succeed([bun, "run", "compile", `--outfile=${program}`], { cwd: project })
  return program
}

/**
 * A client of the server that runs in the lab; returns at once, `ready` waits until it says that it carries packets. Culvert goes
 * without what OpenVPN has no counterpart of, its kill switch and its DNS forwarder, but `asInPod`.
 */
export function startClient(
  lab: Lab,
  rival: Rival,
  server: ServerOptions,
  wrap: Wrapper,
  program: string,
  asInPod = false,
) {
  serial += 1
  const file = lab.write(`${rival}-${serial}.ovpn`, clientConfiguration(lab, server))
  const command = rival === "openvpn" ? ["openvpn", "--config", file] : [program, "start", "--config", file]
  const child = lab.client.start(rival, wrap(command), {
    cwd: project,
    environment: {
      ...engineSettings(),
      ...{ CULVERT_LOG_FORMAT: "json", CULVERT_HTTP: "off" },
      ...{ CULVERT_KILL_SWITCH: asInPod ? "on" : "off", CULVERT_DNS_MODE: asInPod ? "redirect" : "off" },
    },
  })
  const isUp = rival === "openvpn" ? /Initialization Sequence Completed/ : /"event":"connected"/
  return {
    pid: child.pid,
    address: tunnel.ipv4,
    ready: () => child.line(isUp),
    [Symbol.asyncDispose]: async () => void (await child.stop()),
  }
}

/** What the image sets for the JavaScript engine. */
function engineSettings(): Readonly<Record<string, string>> {
  const settings = readFileSync(`${project}/Containerfile`, "utf8").matchAll(/\b(BUN_JSC_\w+)=(\S+)/g)
  return Object.fromEntries([...settings].map(([, name = "", value = ""]) => [name, value]))
}

/** Both ends of a tunnel over UDP with AES-256-GCM. */
export function startPair(lab: Lab, rival: Rival, wrap: Wrapper): Promise<Running> {
  return rival === "openvpn" ? openvpnPair(lab, wrap) : culvertPair(lab, wrap)
}

async function openvpnPair(lab: Lab, wrap: Wrapper): Promise<Running> {
  const options: ServerOptions = { dataCiphers: ["AES-256-GCM"] }
  const server = await OpenVpnServer.start(lab, options, wrap)
  const client = startClient(lab, "openvpn", options, wrap, "openvpn")
  await client.ready()
  return {
    ...client,
    [Symbol.asyncDispose]: async () => {
      await client[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

async function culvertPair(lab: Lab, wrap: Wrapper): Promise<Running> {
  const start = (namespace: Namespace, options: EndOptions) =>
    namespace.start(`culvert ${options.role}`, wrap([bun, `${project}/bench/end.ts`, JSON.stringify(options)]), {
      environment: engineSettings(),
    })
  const server = start(lab.server, end("server", "client"))
  const client = start(lab.client, end("client", "server"))
  for (const child of [server, client]) await child.line(/^ready/)
  return {
    pid: client.pid,
    address: inner.server,
    commandTimes: async () => {
      client.signal("SIGUSR2")
      return JSON.parse((await client.line(/^commands /)).slice("commands ".length)) as ReadonlyArray<number>
    },
    [Symbol.asyncDispose]: async () => void (await Promise.all([client.stop(), server.stop()])),
  }
}

/** The MTU is the one with which full packets are as large as those of OpenVPN's pair. */
function end(role: EndOptions["role"], other: EndOptions["role"]): EndOptions {
  return { role, local: outer[role].ipv4, remote: outer[other].ipv4, addresses: [`${inner[role]}/24`], mtu: 1440 }
}

const inner = { server: "10.67.0.1", client: "10.67.0.2" } as const
let serial = 0
