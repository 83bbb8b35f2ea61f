/** The kill switch in words, from what the kernel holds. Pure. */
import type { NftObject } from "./nft.ts"

/** For a terminal, a line for each rule with the packets that it has seen. */
export const explain = (table: ReadonlyArray<NftObject> | undefined): string => {
  const output = chainOf(table, "output")
  if (table === undefined || output?.policy !== "drop")
    return chainOf(table, "dns") === undefined
      ? "The kill switch is off: whatever the routes say may leave the pod."
      : "The kill switch is off: only DNS queries are caught."
  return [
    "The kill switch is on. Only this leaves the pod:",
    ...sentences(table, "output", "accept"),
    ...heading("Kept out of the tunnel:", [
      ...sentences(table, "output", "reject"),
      ...sentences(table, "output", "drop"),
    ]),
    "",
    `Everything else is refused: ${refused(table, "ipv4")} IPv4 and ${refused(table, "ipv6")} IPv6 packets so far.`,
    "",
    "Whoever comes from outside is let in and answered, except:",
    ...sentences(table, "input", "drop"),
    ...heading("Open in the tunnel for new connections:", sentences(table, "input", "accept")),
    ...heading("Caught:", sentences(table, "dns", "redirect")),
    "",
    "It stays when Culvert ends; `culvert firewall clear` removes it.",
  ].join("\n")
}

const chainOf = (table: ReadonlyArray<NftObject> | undefined, name: string) =>
  table?.flatMap((object) => ("chain" in object && object.chain.name === name ? [object.chain] : []))[0]

const sentences = (table: ReadonlyArray<NftObject>, chain: string, verdict: string): ReadonlyArray<string> =>
  table.flatMap((object) => {
    if (!("rule" in object) || object.rule.chain !== chain || object.rule.comment === undefined) return []
    const statements = object.rule.expr as ReadonlyArray<Readonly<Record<string, unknown>>>
    if (!statements.some((statement) => verdict in statement)) return []
    const counter = statements.find((statement) => "counter" in statement)?.counter as
      | { readonly packets?: number }
      | undefined
    return [`  ${object.rule.comment} (${counter?.packets ?? 0} packets)`]
  })

const heading = (title: string, lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.length === 0 ? [] : ["", title, ...lines]

const refused = (table: ReadonlyArray<NftObject>, family: "ipv4" | "ipv6"): number =>
  table.flatMap((object) =>
    "counter" in object && object.counter.name === `refused_${family}` ? [object.counter.packets] : [],
  )[0] ?? 0
