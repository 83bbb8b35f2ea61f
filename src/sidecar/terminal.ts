/** What `/status` answers as text for a terminal: `culvert status`. */

/** The part of the answer that is shown. Another version of the program may have given it, so everything may be missing. */
export interface ShownStatus {
  readonly phase?: string
  readonly since?: number
  readonly remote?: string
  readonly nextTry?: number
  readonly lastError?: string
  readonly handover?: { readonly since: number }
  readonly lastHandover?: { readonly at: number; readonly ok: boolean; readonly message: string }
  readonly tls?: string
  readonly cipher?: string
  readonly keyId?: number
  readonly keySince?: number
  readonly renegotiations?: number
  readonly attempts?: number
  readonly connects?: number
  readonly device?: string
  readonly mtu?: number
  readonly addresses?: ReadonlyArray<string>
  readonly routes?: ReadonlyArray<string>
  readonly killSwitch?: string
  readonly dns?: { readonly servers: ReadonlyArray<string> }
  readonly checks?: ReadonlyArray<{ readonly name: string; readonly ok: boolean; readonly reason: string }>
  readonly counters?: Readonly<Record<string, number>>
  readonly timeline?: ReadonlyArray<{ readonly at: number; readonly message: string }>
}

/** `now` in Unix milliseconds; `before`: the answer so many `seconds` earlier, for rates. */
export const statusText = (
  status: ShownStatus,
  now: number,
  before?: { readonly status: ShownStatus; readonly seconds: number },
): string => {
  const { counters = {}, checks = [], addresses = [], routes = [], timeline = [] } = status
  const traffic = (name: string) => {
    const total = counters[name] ?? 0
    const rate = before && Math.max(0, total - (before.status.counters?.[name] ?? 0)) / before.seconds
    return `${amount(total, "B")}${rate === undefined ? "" : `, ${amount(rate * 8, "bit/s")}`}`
  }
  const drops = Object.entries(counters).filter(([name, count]) => name.startsWith("drop:") && count > 0)
  const rows: ReadonlyArray<readonly [string, string | ReadonlyArray<string> | undefined]> = [
    ["phase", `${status.phase ?? "unknown"}${status.since === undefined ? "" : ` for ${age(now - status.since)}`}`],
    ["remote", status.remote],
    ["last error", status.phase === "connected" ? undefined : status.lastError],
    ["next attempt", status.nextTry && status.phase === "waiting" ? `in ${age(status.nextTry - now)}` : undefined],
    ["handover", handover(status, now)],
    ["cipher", status.cipher],
    ["tls", status.tls],
    ["key", status.keySince === undefined ? undefined : `number ${status.keyId}, ${age(now - status.keySince)} old`],
    [
      "so far",
      `${status.attempts ?? 0} attempts, ${status.connects ?? 0} connections, ${status.renegotiations ?? 0} renegotiations`,
    ],
    ["received", traffic("tunWriteBytes")],
    ["sent", traffic("tunReadBytes")],
    ["dropped", drops.map(([name, count]) => `${count} ${name.slice("drop:".length)}`).join(", ")],
    ["device", [status.device, status.mtu && `MTU ${status.mtu}`].filter(Boolean).join(", ")],
    ["addresses", addresses.join(" ")],
    ["kill switch", status.killSwitch],
    ["dns", status.dns?.servers.join(" ")],
    ["routes", routes.map((line) => line.replace("route replace ", ""))],
    ["checks", checks.map(({ name, ok, reason }) => `${ok ? "+" : "-"} ${name}: ${reason}`)],
    ["timeline", timeline.slice(-8).map(({ at, message }) => `${new Date(at).toISOString().slice(11, 19)} ${message}`)],
  ]
  return rows
    .flatMap(([name, value]) =>
      [value ?? []]
        .flat()
        .filter((line) => line !== "")
        .map((line, index) => `${(index === 0 ? name : "").padEnd(13)}${printable(line)}`),
    )
    .join("\n")
}

const handover = ({ handover, lastHandover: last }: ShownStatus, now: number): string | undefined => {
  if (handover !== undefined) return `under way for ${age(now - handover.since)}`
  return last && `${last.ok ? "" : "failed "}${age(now - last.at)} ago: ${last.message}`
}

/** As much of a text as a terminal of this size shows at once; what does not fit is marked. */
export const fit = (text: string, { columns, rows }: { readonly columns: number; readonly rows: number }): string => {
  const lines = text.split("\n").map((line) => (line.length > columns ? `${line.slice(0, columns - 1)}…` : line))
  // The cursor stands on the line after the last one.
  const most = Math.max(rows - 1, 2)
  return lines.length <= most
    ? lines.join("\n")
    : [...lines.slice(0, most - 1), `… ${lines.length - most + 1} more lines`].join("\n")
}

/** What a server says may hold escape sequences. */
const printable = (line: string): string => line.replace(/[\x00-\x1f\x7f-\x9f]/g, "�")

const amount = (value: number, unit: string): string => {
  const index = Math.min(Math.max(Math.floor(Math.log10(Math.max(value, 1)) / 3), 0), prefixes.length - 1)
  const scaled = value / 1000 ** index
  return `${index === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)} ${prefixes[index]}${unit}`
}

const prefixes = ["", "k", "M", "G", "T"]

const age = (milliseconds: number): string => {
  const seconds = Math.max(0, Math.round(milliseconds / 1000))
  const at = units.findIndex(({ size }) => seconds >= size)
  if (at < 0) return "0 s"
  const { size, name } = units[at]!
  const next = units[at + 1]
  const rest = next === undefined ? 0 : Math.floor((seconds % size) / next.size)
  return `${Math.floor(seconds / size)} ${name}${rest === 0 ? "" : ` ${rest} ${next!.name}`}`
}

const units = [
  { size: 86_400, name: "d" },
  { size: 3600, name: "h" },
  { size: 60, name: "min" },
  { size: 1, name: "s" },
]
