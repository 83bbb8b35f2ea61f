/** The directive `dns`: `server N ...` lines, gathered by their number, and `search-domains`. */
import { isIpv6, parseIpv4 } from "./address.ts"
import { type Diagnostics, quote } from "./diagnostic.ts"
import type { DnsServer, NetworkOptions } from "./profile.ts"
import type { Setting } from "./settings.ts"

type Given = Setting<readonly ["server" | "search-domains", ...ReadonlyArray<string>]>

export const dnsOptions = (given: ReadonlyArray<Given>, report: Diagnostics): NetworkOptions["dns"] => {
  const servers = new Map<number, Draft>()
  const searchDomains: Array<string> = []
  for (const setting of given) {
    const [kind, ...words] = setting.values
    const complaint = kind === "server" ? addServer(servers, words) : addDomains(searchDomains, words)
    if (complaint !== undefined) report.error(setting, `dns ${kind}: ${complaint}`)
  }
  const complete: Array<DnsServer> = []
  for (const [priority, { addresses, ...draft }] of [...servers].sort(([a], [b]) => a - b)) {
    const [first, ...others] = addresses
    if (first !== undefined) complete.push({ priority, ...draft, addresses: [first, ...others] })
    else if (!report.hasErrors)
      report.error(
        given[0]!,
        `dns server ${priority} has no address`,
        `add a line: dns server ${priority} address ADDRESS`,
      )
  }
  return { servers: complete, searchDomains }
}

/** The lines that say the same. */
export const dnsLines = ({ servers, searchDomains }: NetworkOptions["dns"]): ReadonlyArray<Given["values"]> => [
  ...(searchDomains.length === 0 ? [] : [["search-domains", ...searchDomains] as const]),
  ...servers.flatMap(({ priority, addresses, resolveDomains, dnssec, transport, sni }) =>
    [
      ["address", ...addresses.map(writeAddress)],
      ...(resolveDomains.length === 0 ? [] : [["resolve-domains", ...resolveDomains]]),
      ...(dnssec === undefined ? [] : [["dnssec", dnssec]]),
      ...(transport === undefined ? [] : [["transport", transport]]),
      ...(sni === undefined ? [] : [["sni", sni]]),
    ].map((words) => ["server", String(priority), ...words] as const),
  ),
]

type Address = DnsServer["addresses"][number]

interface Draft extends Omit<{ -readonly [K in keyof DnsServer]: DnsServer[K] }, "priority" | "addresses"> {
  addresses: ReadonlyArray<Address>
}

/** Each function says what is wrong, or nothing. */
const addServer = (servers: Map<number, Draft>, words: ReadonlyArray<string>): string | undefined => {
  const [number = "", property, first, ...others] = words
  const priority = /^-?[0-9]{1,3}$/.test(number) ? Number(number) + 0 : Number.NaN
  if (!(priority >= -128 && priority <= 127)) return `expected a number from -128 to 127, not ${quote(number)}`
  if (property === undefined || first === undefined) return "expected a property and its value"
  const draft = servers.get(priority) ?? {
    addresses: [],
    resolveDomains: [],
    dnssec: undefined,
    transport: undefined,
    sni: undefined,
  }
  servers.set(priority, draft)
  if (property !== "address" && property !== "resolve-domains" && others.length > 0)
    return `unexpected ${quote(others[0]!)} after ${quote(property)}`
  switch (property) {
    case "address":
      return addAddresses(draft, [first, ...others])
    case "resolve-domains":
      draft.resolveDomains = [...draft.resolveDomains, first, ...others]
      return undefined
    case "dnssec":
      return choose(first, ["yes", "optional", "no"], (value) => {
        draft.dnssec = value
      })
    case "transport":
      return choose(first, ["plain", "DoH", "DoT"], (value) => {
        draft.transport = value
      })
    case "sni":
      draft.sni = first
      return undefined
    default:
      return `expected address, resolve-domains, dnssec, transport or sni, not ${quote(property)}`
  }
}

const addAddresses = (draft: Draft, words: ReadonlyArray<string>): string | undefined => {
  const addresses = words.map(readAddress)
  const bad = addresses.indexOf(undefined)
  if (bad >= 0) return `expected an IP address, perhaps with a port, not ${quote(words[bad]!)}`
  draft.addresses = [...draft.addresses, ...addresses.filter((address) => address !== undefined)]
  return draft.addresses.length > maximumAddresses ? `more than ${maximumAddresses} addresses` : undefined
}

const addDomains = (domains: Array<string>, words: ReadonlyArray<string>): string | undefined => {
  if (words.length === 0) return "expected a domain"
  domains.push(...words)
  return undefined
}

const choose = <const A extends string>(
  word: string,
  among: ReadonlyArray<A>,
  set: (value: A) => void,
): string | undefined => {
  const found = among.find((value) => value === word)
  if (found === undefined) return `expected one of ${among.join(", ")}, not ${quote(word)}`
  set(found)
  return undefined
}

/** `1.2.3.4`, `1.2.3.4:53`, `fd00::1`, `[fd00::1]:53` */
const readAddress = (text: string): Address | undefined => {
  const [, bracketed, ipv4, port] = /^(?:\[([^\]]*)\]|([0-9.]*))(?::([0-9]{1,5}))?$/.exec(text) ?? []
  const address = bracketed ?? ipv4 ?? text
  const number = port === undefined ? undefined : Number(port)
  if (number !== undefined && (number < 1 || number > 65535)) return undefined
  const valid = ipv4 === undefined ? isIpv6(address) : parseIpv4(address) !== undefined
  return valid ? { address, port: number } : undefined
}

const writeAddress = ({ address, port }: Address): string => {
  if (port === undefined) return address
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`
}

/** OpenVPN's limit for one server. */
const maximumAddresses = 8
