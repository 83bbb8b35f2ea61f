/**
 * Prometheus metrics, read at scrape time from the status and the shared counters: nothing is updated per packet.
 * One table makes the metrics and, later, their reference page.
 */
import { Counter, Gauge, Registry } from "prom-client"
import type { Status } from "../tunnel/index.ts"
import { version } from "../version.ts"

export interface MetricSource {
  readonly status: () => Status
  readonly counters: () => Readonly<Record<string, number>>
}

/** A registry of its own, so that two of them can live in one process. */
export const makeMetrics = (source: MetricSource): Registry => {
  const registry = new Registry()
  for (const { name, help, read } of counters) {
    const counter = new Counter({
      name: prefix + name,
      help,
      registers: [registry],
      collect() {
        counter.reset()
        counter.inc(read(source.counters(), source.status()))
      },
    })
  }
  for (const { name, help, read } of gauges) {
    const gauge = new Gauge({
      name: prefix + name,
      help,
      registers: [registry],
      collect() {
        gauge.set(read(source.status()))
      },
    })
  }
  const dropped = new Counter({
    name: `${prefix}dropped_packets_total`,
    help: "Packets that were dropped, by reason.",
    labelNames: ["reason"],
    registers: [registry],
    collect() {
      dropped.reset()
      for (const [name, value] of Object.entries(source.counters())) {
        if (name.startsWith("drop:")) dropped.inc({ reason: name.slice("drop:".length) }, value)
      }
    },
  })
  new Gauge({
    name: `${prefix}build_info`,
    help: "1, with the version.",
    labelNames: ["version"],
    registers: [registry],
  }).set({ version }, 1)
  return registry
}

const prefix = "openvpn_client_"

type ReadCounter = (counters: Readonly<Record<string, number>>, status: Status) => number

const counters: ReadonlyArray<{ readonly name: string; readonly help: string; readonly read: ReadCounter }> = [
  { name: "tun_tap_read_bytes_total", help: "Bytes read from tun.", read: (c) => c.tunReadBytes ?? 0 },
  { name: "tun_tap_write_bytes_total", help: "Bytes written to tun.", read: (c) => c.tunWriteBytes ?? 0 },
  { name: "tcp_udp_read_bytes_total", help: "Bytes received from the server.", read: (c) => c.transportReadBytes ?? 0 },
  { name: "tcp_udp_write_bytes_total", help: "Bytes sent to the server.", read: (c) => c.transportWriteBytes ?? 0 },
  { name: "tun_tap_read_packets_total", help: "Packets read from tun.", read: (c) => c.tunReadPackets ?? 0 },
  { name: "tun_tap_write_packets_total", help: "Packets written to tun.", read: (c) => c.tunWritePackets ?? 0 },
  { name: "connects_total", help: "Times the tunnel came up.", read: (_, status) => status.connects },
  { name: "attempts_total", help: "Connection attempts.", read: (_, status) => status.attempts },
  { name: "renegotiations_total", help: "Data keys renegotiated.", read: (_, status) => status.renegotiations },
]

const gauges: ReadonlyArray<{
  readonly name: string
  readonly help: string
  readonly read: (status: Status) => number
}> = [
  { name: "connected", help: "1 while the tunnel is up.", read: (status) => (status.phase === "connected" ? 1 : 0) },
  {
    name: "connected_timestamp_seconds",
    help: "Unix time at which the tunnel came up; 0 while it is down.",
    read: (status) => (status.phase === "connected" ? status.since / 1000 : 0),
  },
]
