/** The results as a table for the terminal, as Markdown, and the throughputs as a chart. */
import type { Micro } from "./micro.ts"
import { type Measured, medians, type Results } from "./tunnels.ts"

export interface Facts {
  readonly machine: ReadonlyArray<string>
  readonly command: string
  readonly micro: Micro | undefined
  /** ns for a packet of that many bytes by `openssl speed`. */
  readonly opensslSpeed: Readonly<Record<string, number>>
}

export function table(results: Results): string {
  const rows = [...results.rows.values()]
    .sort((a, b) => a.section.localeCompare(b.section))
    .map((row) => {
      const { openvpn, culvert } = medians(row)
      return [
        `(${row.section}) ${row.what}`,
        shown(openvpn),
        shown(culvert),
        row.unit,
        openvpn > 0 ? `${shown(culvert / openvpn)}x` : "",
      ]
    })
  return aligned([["", "OpenVPN", "Culvert", "", "ratio"], ...rows])
}

export function microTable({ micro, opensslSpeed }: Facts): string {
  const rows = [
    ...Object.entries(micro ?? {}).map(([what, ns]) => [`(h) ${what}`, shown(ns), "ns"]),
    ...Object.entries(opensslSpeed).map(([what, ns]) => [`(h) openssl speed, ${what}`, shown(ns), "ns"]),
  ]
  return aligned(rows)
}

export function markdown(results: Results, facts: Facts, chart: string): string {
  const rows = [...results.rows.values()].sort((a, b) => a.section.localeCompare(b.section)).map(markdownRow)
  const micro = [...Object.entries(facts.micro ?? {}), ...Object.entries(facts.opensslSpeed).map(named)]
  return [
    "# Culvert beside OpenVPN",
    "",
    `Written by \`${facts.command}\`. Medians of the rounds, all rounds in brackets; the rivals alternate within one run.`,
    "Absolute figures depend on the machine and on what else it does; the ratio is what counts.",
    "",
    ...facts.machine.map((line) => `* ${line}`),
    "",
    `![Throughput](${chart})`,
    "",
    "| | OpenVPN | Culvert | | ratio |",
    "|---|---|---|---|---|",
    ...rows,
    "",
    "Parts of a packet's way alone, ns per packet:",
    "",
    "| part | ns |",
    "|---|---|",
    ...micro.map(([what, ns]) => `| ${what} | ${shown(ns)} |`),
    "",
  ].join("\n")
}

/** Two bars for each throughput that both have. */
export function svg(results: Results): string {
  const rows = [...results.rows.values()].filter(({ unit, values }) => unit === "Gbit/s" && values.openvpn.length > 0)
  const most = Math.max(...rows.flatMap((row) => Object.values(medians(row))), 0.001)
  const bars = rows.flatMap((row, index) => {
    const { openvpn, culvert } = medians(row)
    const y = 40 + index * 44
    const label = row.section === "f" ? `both ends, ${row.what}` : row.what
    return [
      `<text x="10" y="${y + 20}">${label}</text>`,
      ...bar(y, openvpn, most, "#9aa5b1"),
      ...bar(y + 18, culvert, most, "#0b7285"),
    ]
  })
  const height = 60 + rows.length * 44
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="760" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="760" height="${height}" fill="white"/>`,
    `<text x="10" y="22" font-size="14">Throughput in Gbit/s: OpenVPN (grey), Culvert (blue)</text>`,
    ...bars,
    "</svg>",
    "",
  ].join("\n")
}

function bar(y: number, value: number, most: number, colour: string): ReadonlyArray<string> {
  const width = Math.max(1, (value / most) * 430)
  return [
    `<rect x="230" y="${y}" width="${width.toFixed(1)}" height="16" fill="${colour}"/>`,
    `<text x="${(236 + width).toFixed(1)}" y="${y + 12}">${shown(value)}</text>`,
  ]
}

function markdownRow(row: Measured): string {
  const { openvpn, culvert } = medians(row)
  const cell = (value: number, all: ReadonlyArray<number>) => `${shown(value)} (${all.map(shown).join(", ")})`
  const cells = [cell(openvpn, row.values.openvpn), cell(culvert, row.values.culvert)]
  return `| (${row.section}) ${row.what} | ${cells.join(" | ")} | ${row.unit} | ${shown(openvpn > 0 ? culvert / openvpn : Number.NaN)} |`
}

const named = ([what, ns]: [string, number]): [string, number] => [`openssl speed, ${what}`, ns]

function shown(value: number): string {
  if (Number.isNaN(value)) return "–"
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

function aligned(rows: ReadonlyArray<ReadonlyArray<string>>): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join("  "),
    )
    .join("\n")
}
