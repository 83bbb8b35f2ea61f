/** Settings that a file and a push have in common: what they say about the network and about keepalive. */
import { ipv4Network, ipv6Network, isAddress, isIpv4, isIpv6, prefixOfNetmask } from "./address.ts"
import { type Diagnostics, quote, wordOf } from "./diagnostic.ts"
import { dnsOptions } from "./dns.ts"
import type { KeepaliveOptions, NetworkOptions, RedirectFlag, Route } from "./profile.ts"
import type { Setting, Settings } from "./settings.ts"
import { nearest } from "./spelling.ts"

/** `names`: whether routes may have host names in them. */
export const networkOptions = (settings: Settings, names: boolean, report: Diagnostics): NetworkOptions => {
  const ifconfig = settings.last("ifconfig")?.values
  const ifconfigIpv6 = settings.last("ifconfig-ipv6")?.values
  const topology = settings.last("topology")?.values[0]
  if (topology === "subnet" && ifconfig !== undefined && prefixOfNetmask(ifconfig[1]) === undefined) {
    report.warning(settings.last("ifconfig")!, `with topology subnet the second word of "ifconfig" is a netmask`)
  }
  if (ifconfig !== undefined && ifconfig[0] === ifconfig[1])
    report.error(
      settings.last("ifconfig")!,
      "ifconfig: the second word is the netmask or the peer's address, not our own",
    )
  if (ifconfigIpv6 !== undefined && (ifconfigIpv6[0].prefix < 64 || ifconfigIpv6[0].prefix > 124))
    report.error(settings.last("ifconfig-ipv6")!, "ifconfig-ipv6: the prefix length must be from 64 to 124")
  return {
    topology,
    ifconfig: ifconfig && { local: ifconfig[0], second: ifconfig[1] },
    ifconfigIpv6: ifconfigIpv6 && {
      local: ifconfigIpv6[0].address,
      prefix: ifconfigIpv6[0].prefix,
      remote: ifconfigIpv6[1],
    },
    routeGateway: routeGateway(settings, report),
    routeIpv6Gateway: settings.last("route-ipv6-gateway")?.values[0],
    routeMetric: settings.last("route-metric")?.values[0],
    routeDelay: routeDelay(settings),
    routes: settings.all("route").flatMap((setting) => route(setting, names, report)),
    routesIpv6: settings.all("route-ipv6").flatMap((setting) => routeIpv6(setting, report)),
    redirectGateway: flagsOf(settings.all("redirect-gateway")),
    redirectPrivate: flagsOf(settings.all("redirect-private")),
    blockIpv6: settings.has("block-ipv6"),
    dhcpOptions: settings.all("dhcp-option").flatMap((setting) => dhcpOption(setting, report)),
    dns: dnsOptions(settings.all("dns"), report),
  }
}

export const keepaliveOptions = (settings: Settings): KeepaliveOptions => {
  // OpenVPN keeps one send timer and one receive timer: of the directives that set it, the last one holds.
  const send = settings.lastOf("keepalive", "ping")
  const receive = settings.lastOf("keepalive", "ping-restart", "ping-exit")
  const keepalive = settings.last("keepalive")
  const inactive = settings.last("inactive")?.values
  return {
    ping: send?.values[0],
    silence: receive && {
      seconds: keepalive !== undefined && receive === keepalive ? keepalive.values[1] : receive.values[0],
      then: receive.name === "ping-exit" ? "exit" : "restart",
    },
    inactive: inactive && { seconds: inactive[0], bytes: inactive[1] ?? 0 },
    sessionTimeout: settings.last("session-timeout")?.values[0],
  }
}

const route = (setting: Setting<ValuesOfRoute>, names: boolean, report: Diagnostics): ReadonlyArray<Route> => {
  const [network, prefix = 32, gateway, metric] = setting.values
  for (const [index, place] of [network, undefined, gateway].entries()) {
    if (place !== undefined && !isIpv4(place) && !routeKeywords.includes(place) && (!names || place.includes(":"))) {
      report.error(wordOf(setting, index + 1), `route: expected an IPv4 address, not ${quote(place)}`)
      return []
    }
  }
  const masked = isIpv4(network) ? ipv4Network(network, prefix) : network
  if (masked !== network)
    report.warning(
      wordOf(setting, 1),
      `route: ${network} is not the address of a network of ${prefix} bits; ${masked} is used`,
    )
  return [{ network: masked, prefix, gateway, metric }]
}

const routeIpv6 = (setting: Setting<ValuesOfRouteIpv6>, report: Diagnostics): ReadonlyArray<Route> => {
  const [{ address, prefix }, written, metric] = setting.values
  const gateway = written?.replace(/_ipv6$/, "")
  if (gateway !== undefined && !isIpv6(gateway) && !routeKeywords.includes(gateway)) {
    report.error(wordOf(setting, 2), `route-ipv6: expected an IPv6 address as gateway, not ${quote(gateway)}`)
    return []
  }
  const network = ipv6Network(address, prefix)
  if (network !== address)
    report.warning(
      wordOf(setting, 1),
      `route-ipv6: ${address} is not the address of a network of ${prefix} bits; ${network} is used`,
    )
  return [{ network, prefix, gateway, metric }]
}

const routeGateway = (settings: Settings, report: Diagnostics): string | undefined => {
  const setting = settings.last("route-gateway")
  const gateway = setting?.values[0]
  if (setting === undefined || gateway === undefined) return undefined
  if (gateway === "dhcp") {
    report.info(setting, `"route-gateway dhcp" has no effect here: DHCP is not spoken`)
    return undefined
  }
  if (isIpv4(gateway)) return gateway
  report.error(wordOf(setting, 1), `route-gateway: expected an IPv4 address, not ${quote(gateway)}`)
  return undefined
}

/** The second number is about Windows. Without a number there is no delay. */
const routeDelay = (settings: Settings): number | undefined => {
  const setting = settings.last("route-delay")
  return setting && (setting.values[0] ?? 0)
}

const flagsOf = (
  settings: ReadonlyArray<Setting<ReadonlyArray<RedirectFlag>>>,
): ReadonlyArray<RedirectFlag> | undefined =>
  settings.length === 0 ? undefined : [...new Set(settings.flatMap((setting) => setting.values))]

const dhcpOption = (
  setting: Setting<readonly [string, string?]>,
  report: Diagnostics,
): NetworkOptions["dhcpOptions"] => {
  const [written, value = ""] = setting.values
  const type = written.toUpperCase()
  const isValid = type === "DNS6" ? isIpv6(value) : isAddress(value)
  if (addressTypes.includes(type) && !isValid) {
    report.error(wordOf(setting, 2), `dhcp-option ${type}: expected an IP address, not ${quote(value)}`)
    return []
  }
  if (!namingTypes.includes(type)) {
    const near = addressTypes.includes(type) ? undefined : nearest(type, namingTypes)
    const message = `${quote(`dhcp-option ${written}`)} has no effect here: it is asked for name servers and search domains alone`
    report.info(setting, message, near && `did you mean "${near}"?`)
  }
  return [{ type, value }]
}

type ValuesOfRoute = readonly [string, (number | undefined)?, (string | undefined)?, (number | undefined)?]
type ValuesOfRouteIpv6 = readonly [
  { readonly address: string; readonly prefix: number },
  (string | undefined)?,
  (number | undefined)?,
]

const routeKeywords = ["vpn_gateway", "net_gateway", "remote_host"]
/** Those that `network/dns` goes by. */
const namingTypes = ["DNS", "DNS6", "DOMAIN", "DOMAIN-SEARCH", "ADAPTER_DOMAIN_SUFFIX"]
const addressTypes = ["DNS", "DNS6", "NTP", "WINS", "NBDD"]
