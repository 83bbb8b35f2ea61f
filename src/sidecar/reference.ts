/** Pages of the documentation that are written from tables. `docs/` holds them, and a test compares the two. */
import { metrics } from "./metrics.ts"

/** Markdown of docs/metrics.md. */
export const metricsPage = (): string => `# Metrics

\`GET /metrics\` answers in the Prometheus text format. This page is written from the table in \`src/sidecar/metrics.ts\`.

The names of the byte counters are those of the usual OpenVPN exporters. Everything is read when it is scraped or counted when
an event happens, nothing per packet. Counters start at zero with the process and go on over reconnects. Labels have few
values: there is one time series a row, a reason, or a phase.

| Metric | Type | Labels | Meaning |
|---|---|---|---|
${Object.entries(metrics)
  .map(([name, row]) => {
    const labels = "labels" in row ? row.labels.map((label) => `\`${label}\``).join(", ") : ""
    return `| \`${name}\` | ${row.type} | ${labels} | ${row.help} |`
  })
  .join("\n")}

The reasons of \`failures_total\` and \`disconnects_total\` are the \`reason\` of the log events \`disconnected\` and \`auth_failed\`
([logging.md](logging.md)); those of \`dropped_packets_total\` are listed in \`src/dataplane/drop.ts\`.

\`k8s/monitoring/\` has alerts (PrometheusRule) and a Grafana dashboard that use these names.
`
