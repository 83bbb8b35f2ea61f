/** Pages of the documentation that are written from tables. `docs/` holds them, and a test compares the two. */
import { events } from "./events.ts"
import { metrics } from "./metrics.ts"
import { reasons } from "./reasons.ts"
import { table } from "./settings.ts"

/** Markdown of docs/metrics.md. */
export const metricsPage = (): string => `# Metrics

\`GET /metrics\` answers in the Prometheus text format. This page is written from the table in \`src/sidecar/metrics.ts\`.

The names of the byte counters are those of the usual OpenVPN exporters. Everything is read when it is scraped or counted when
an event happens, nothing per packet. Counters start at zero with the process and go on over reconnects. Labels have few
values: there is one time series a row, a reason, or a phase. A scrape is of one moment and costs about 1 ms of processor time;
\`npm test -- test/container\` prints the figure.

| Metric | Type | Labels | Meaning |
|---|---|---|---|
${Object.entries(metrics)
  .map(([name, row]) => {
    const labels = "labels" in row ? row.labels.map((label) => `\`${label}\``).join(", ") : ""
    return `| \`${name}\` | ${row.type} | ${labels} | ${row.help} |`
  })
  .join("\n")}

The reasons of \`failures_total\` and \`disconnects_total\` are the \`reason\` of the log events \`disconnected\` and \`auth_failed\`
([troubleshooting.md](troubleshooting.md)); those of \`dropped_packets_total\` are listed in \`src/dataplane/drop.ts\`.

\`k8s/monitoring/\` has alerts (PrometheusRule) and a Grafana dashboard that use these names.
`

/** Markdown of docs/logging.md. */
export const loggingPage = (): string => `# Logging

Culvert writes one line an event to its standard output: JSON where that is no terminal, text with colour where it is
(\`CULVERT_LOG_FORMAT=json|text\`, \`NO_COLOR\`). This page is written from the table in \`src/sidecar/events.ts\`, and a test
compares that table with the code.

A JSON line has \`ts\` (RFC 3339, UTC), \`level\`, \`event\`, \`message\`, then the facts of the event:

\`\`\`json
{"ts":"2026-03-01T09:00:00.000Z","level":"info","event":"connected","message":"connected: AES-256-GCM, …","cipher":"AES-256-GCM","mtu":1500,"seconds":0.21}
\`\`\`

\`event\` names are stable; messages are for people and may change. \`CULVERT_LOG_LEVEL\` is \`debug\`, \`info\`, \`warn\` or \`error\`;
without it \`verb\` of the configuration decides: 0 is \`error\`, 1 to 3 \`info\`, 4 and more \`debug\`.

An event is written at most 30 times in 10 seconds. The next line after that says in \`suppressed\` how many were left out. Errors
are always written.

No line holds a secret. Keys, passwords and tokens are values that print as \`<redacted>\`, and a test searches a full debug run
for every secret that it was given. User names are left out as well.

| Event | Level | Facts | Meaning |
|---|---|---|---|
${Object.entries(events)
  .map(
    ([name, { level, facts = [], meaning }]) =>
      `| \`${name}\` | ${level} | ${facts.map((fact) => `\`${fact}\``).join(", ")} | ${meaning} |`,
  )
  .join("\n")}
`

/** Markdown of docs/settings.md. */
export const settingsPage = (): string => `# Settings

What is no OpenVPN directive ([configuration.md](configuration.md)) is a flag of \`culvert start\` or an environment variable. This page is
written from the table in \`src/sidecar/settings.ts\`. A flag wins over its variable; the variable over the content of the file that the
variable with \`_FILE\` names; that over the default. A wrong value ends the start with status 64 and names every wrong one.

| Flag | Variable | Default | Meaning |
|---|---|---|---|
${Object.values(table)
  .map(
    ({ flag, variable, default: fallback, documentation }) =>
      `| \`--${flag}\` | \`${variable}\` | ${fallback === undefined || fallback === "" ? "" : `\`${fallback}\``} | ${documentation.replaceAll("|", "\\|")} |`,
  )
  .join("\n")}
`

/** docs/troubleshooting.md with what stands between its markers made anew. */
export const withTroubles = (page: string): string => {
  const warnings = Object.entries(events).flatMap(([name, row]) =>
    "remedy" in row ? [`| \`${name}\` | ${row.meaning} | ${row.remedy} |`] : [],
  )
  const ends = Object.entries(reasons).map(([tag, { meaning, remedy }]) => `| \`${tag}\` | ${meaning} | ${remedy} |`)
  return Object.entries({
    events: ["| event | meaning | what to do |", "|---|---|---|", ...warnings],
    reasons: ["| reason | meaning | what to do |", "|---|---|---|", ...ends],
  }).reduce(
    (text, [name, rows]) =>
      text.replace(
        new RegExp(`(<!-- ${name} -->\\n)[\\s\\S]*?(<!-- end -->)`),
        (_, begin: string, end: string) => `${begin}\n${rows.join("\n")}\n\n${end}`,
      ),
    page,
  )
}
