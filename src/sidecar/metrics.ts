/**
 * Prometheus metrics from one table. What the status and the shared counters know is read at scrape time; what only an event
 * tells is counted when it happens. Nothing is done per packet. All of it lives as long as the process, so counters go on
 * over reconnects.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client"
import { dropDirections, type Happened, type Phase, type Status } from "../tunnel/index.ts"
import { version } from "../version.ts"
import { type Observation, readiness } from "./health.ts"

export interface MetricSource {
  readonly observe: () => Observation
  readonly counters: () => Readonly<Record<string, number>>
}

export interface Metrics {
  readonly contentType: string
  /** Everything in the Prometheus text format, of one moment. */
  readonly scrape: () => Promise<string>
  /** To be called for every event of the tunnel. */
  readonly happened: (happened: Happened) => void
}

/** A registry of its own, so that two of them can live in one process. */
export const makeMetrics = (source: MetricSource): Metrics => {
  const registry = new Registry()
  const look = (): Reading => ({ ...source.observe(), counters: source.counters(), unixTime: Date.now() })
  let reading = look()
  const counting: Array<(happened: Happened) => void> = []
  for (const [name, row] of Object.entries(metrics as Readonly<Record<string, Metric>>)) {
    const { help, labels = [] } = row
    const base = { name, help, labelNames: [...labels], registers: [registry] }
    if (row.type === "histogram") {
      const histogram = new Histogram({ ...base, buckets: [...row.buckets] })
      counting.push((happened) => {
        for (const value of row.measure(happened)) histogram.observe(value)
      })
    } else if ("count" in row) {
      const counter = new Counter(base)
      for (const known of row.from ?? []) counter.inc(known, 0)
      counting.push((happened) => {
        const labels = row.count(happened)
        if (labels !== undefined) counter.inc(labels)
      })
    } else {
      const read = (set: (labels: Labels, value: number) => void) => {
        const samples = row.read(reading)
        if (typeof samples === "number") set({}, samples)
        else for (const [labels, value] of samples) set(labels, value)
      }
      if (row.type === "gauge") {
        const gauge = new Gauge({
          ...base,
          collect() {
            gauge.reset()
            read((labels, value) => gauge.set(labels, value))
          },
        })
      } else {
        const counter = new Counter({
          ...base,
          collect() {
            counter.reset()
            read((labels, value) => counter.inc(labels, value))
          },
        })
      }
    }
  }
  const happened = (happened: Happened) => {
    for (const count of counting) count(happened)
  }
  const scrape = () => {
    reading = look()
    return registry.metrics()
  }
  return { contentType: registry.contentType, scrape, happened }
}

type Labels = Readonly<Record<string, string>>

/** Everything a row may read at scrape time. */
interface Reading extends Observation {
  readonly counters: Readonly<Record<string, number>>
  /** ms */
  readonly unixTime: number
}

interface Described {
  readonly help: string
  readonly labels?: ReadonlyArray<string>
}

export type Metric =
  | (Described & {
      readonly type: "counter" | "gauge"
      readonly read: (reading: Reading) => number | ReadonlyArray<readonly [Labels, number]>
    })
  | (Described & {
      readonly type: "counter"
      /** The labels of what is to be counted, if this event is. */
      readonly count: (happened: Happened) => Labels | undefined
      /** Series that are there from the start, so that `increase` sees the first event. */
      readonly from?: ReadonlyArray<Labels>
    })
  | (Described & {
      readonly type: "histogram"
      readonly buckets: ReadonlyArray<number>
      readonly measure: (happened: Happened) => ReadonlyArray<number>
    })

const counter = (name: string) => (reading: Reading) => reading.counters[name] ?? 0

const phases: ReadonlyArray<Phase> = ["starting", "connecting", "connected", "waiting", "paused", "stopping"]

/** An attempt that ended before packets could pass is no disconnect. */
const isDisconnect = ({ event, facts }: Happened) =>
  (event === "disconnected" || event === "auth_failed") && facts.established === true

const isFailedAttempt = ({ event, facts }: Happened) =>
  (event === "disconnected" || event === "auth_failed") && facts.established !== true

const remoteOf = (status: Status): Labels => {
  const [, proto = "", remote = ""] = /^(\w+):\/\/(\S+)/.exec(status.remote ?? "") ?? []
  return { remote, proto, cipher: status.cipher ?? "" }
}

const seconds = (milliseconds: number | undefined) => (milliseconds === undefined ? 0 : milliseconds / 1000)

/** By full name, in the order of the page. */
export const metrics = {
  openvpn_client_connected: {
    type: "gauge",
    help: "1 while the tunnel is up.",
    read: ({ status }) => Number(status.phase === "connected"),
  },
  openvpn_client_ready: {
    type: "gauge",
    help: "1 while /readyz answers 200.",
    read: (reading) => Number(readiness(reading).every(({ ok }) => ok)),
  },
  openvpn_client_state: {
    type: "gauge",
    labels: ["state"],
    help: "1 for the present phase of the tunnel, 0 for the others.",
    read: ({ status }) => phases.map((state) => [{ state }, Number(status.phase === state)] as const),
  },
  openvpn_client_connected_timestamp_seconds: {
    type: "gauge",
    help: "Unix time at which the tunnel came up; 0 while it is down.",
    read: ({ status }) => (status.phase === "connected" ? status.since / 1000 : 0),
  },
  openvpn_client_last_received_timestamp_seconds: {
    type: "gauge",
    help: "Unix time of the last authenticated data packet; 0 when there was none.",
    read: ({ receiveAge, unixTime }) => (receiveAge === undefined ? 0 : (unixTime - receiveAge) / 1000),
  },
  openvpn_client_key_timestamp_seconds: {
    type: "gauge",
    help: "Unix time at which the present data key was installed; 0 when there was none.",
    read: ({ status }) => seconds(status.keySince),
  },
  openvpn_client_server_info: {
    type: "gauge",
    labels: ["remote", "proto", "cipher"],
    help: "1, with the server and the cipher of the data channel; absent while the tunnel is down.",
    read: ({ status }) => (status.phase === "connected" ? [[remoteOf(status), 1]] : []),
  },
  openvpn_client_attempts_total: {
    type: "counter",
    help: "Connection attempts begun.",
    read: ({ status }) => status.attempts,
  },
  openvpn_client_connects_total: {
    type: "counter",
    labels: ["result"],
    help: "Connection attempts ended: `success` when packets could pass, else `failure`.",
    from: [{ result: "success" }, { result: "failure" }],
    count: (happened) =>
      happened.event === "connected"
        ? { result: "success" }
        : isFailedAttempt(happened)
          ? { result: "failure" }
          : undefined,
  },
  openvpn_client_failures_total: {
    type: "counter",
    labels: ["reason"],
    help: "Connection attempts that ended before packets could pass, by reason.",
    from: [{ reason: "AuthFailed" }, { reason: "NoAnswer" }],
    count: (happened) => (isFailedAttempt(happened) ? { reason: String(happened.facts.reason) } : undefined),
  },
  openvpn_client_disconnects_total: {
    type: "counter",
    labels: ["reason"],
    help: "Connections lost after packets had passed, by reason.",
    from: [{ reason: "PingRestart" }, { reason: "Transport" }, { reason: "ServerExit" }],
    count: (happened) => (isDisconnect(happened) ? { reason: String(happened.facts.reason) } : undefined),
  },
  openvpn_client_handovers_total: {
    type: "counter",
    labels: ["result"],
    help: "New connections beside the one that was up: `success` when they took over, else `failure`.",
    from: [{ result: "success" }, { result: "failure" }],
    count: ({ event }) =>
      event === "handed_over" ? { result: "success" } : event === "handover_failed" ? { result: "failure" } : undefined,
  },
  openvpn_client_handover_running: {
    type: "gauge",
    help: "1 while a new connection is being established beside the one that is up.",
    read: ({ status }) => Number(status.handover !== undefined),
  },
  openvpn_client_last_handover_timestamp_seconds: {
    type: "gauge",
    labels: ["result"],
    help: "Unix time at which the last new connection took over (`success`), failed or was not possible (`failure`); absent before.",
    read: ({ status: { lastHandover } }) =>
      lastHandover === undefined ? [] : [[{ result: lastHandover.ok ? "success" : "failure" }, lastHandover.at / 1000]],
  },
  openvpn_client_handshake_duration_seconds: {
    type: "histogram",
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    help: "From the beginning of an attempt until packets could pass, of attempts that succeeded.",
    measure: ({ event, facts }) => (event === "connected" && typeof facts.seconds === "number" ? [facts.seconds] : []),
  },
  openvpn_client_renegotiations_total: {
    type: "counter",
    labels: ["result"],
    help: "Renegotiations of the data key: `success` or `failure`; after a failure the old key stays in use.",
    from: [{ result: "success" }, { result: "failure" }],
    count: ({ event }) =>
      event === "renegotiated"
        ? { result: "success" }
        : event === "renegotiation_failed"
          ? { result: "failure" }
          : undefined,
  },
  openvpn_client_tun_tap_read_bytes_total: {
    type: "counter",
    help: "Bytes read from tun: what the pod sends.",
    read: counter("tunReadBytes"),
  },
  openvpn_client_tun_tap_write_bytes_total: {
    type: "counter",
    help: "Bytes written to tun: what the pod receives.",
    read: counter("tunWriteBytes"),
  },
  openvpn_client_tun_tap_read_packets_total: {
    type: "counter",
    help: "Packets read from tun.",
    read: counter("tunReadPackets"),
  },
  openvpn_client_tun_tap_write_packets_total: {
    type: "counter",
    help: "Packets written to tun.",
    read: counter("tunWritePackets"),
  },
  openvpn_client_tcp_udp_read_bytes_total: {
    type: "counter",
    help: "Bytes received from the server, control packets included, without outer headers.",
    read: counter("transportReadBytes"),
  },
  openvpn_client_tcp_udp_write_bytes_total: {
    type: "counter",
    help: "Bytes sent to the server, control packets included, without outer headers.",
    read: counter("transportWriteBytes"),
  },
  openvpn_client_transport_errors_total: {
    type: "counter",
    help: "Errors that the socket reported and survived, such as ECONNREFUSED.",
    read: counter("transportErrors"),
  },
  openvpn_client_dropped_packets_total: {
    type: "counter",
    labels: ["direction", "reason"],
    help: "Packets that were dropped, by the way they went (`sent`, `received`, `either`) and the reason.",
    read: ({ counters }) =>
      Object.entries(dropDirections).map(([reason, direction]) => [
        { direction, reason },
        counters[`drop:${reason}`] ?? 0,
      ]),
  },
  openvpn_client_kill_switch_active: {
    type: "gauge",
    help: "1 while the kill switch lets nothing leave but through the tunnel.",
    read: ({ status }) => Number(status.killSwitch === "on"),
  },
  openvpn_client_kill_switch_restored_total: {
    type: "counter",
    help: "Times that somebody else removed or changed the kill switch's table and it was set again.",
    from: [{}],
    count: ({ event }) => (event === "kill_switch_restored" ? {} : undefined),
  },
  openvpn_client_kill_switch_dropped_packets_total: {
    type: "counter",
    labels: ["family"],
    help: "Packets that the kill switch refused, at most 15 s old.",
    read: ({ status }) => [
      [{ family: "ipv4" }, status.refused.ipv4],
      [{ family: "ipv6" }, status.refused.ipv6],
    ],
  },
  openvpn_client_dns_queries_total: {
    type: "counter",
    labels: ["upstream", "rcode"],
    help: "Questions that the forwarder put to other servers, by what came of them: a DNS response code, `TIMEOUT` or `FAILED`.",
    read: ({ status }) =>
      Object.entries(status.dnsQueries).map(([key, value]) => {
        const [upstream = "", rcode = ""] = key.split(" ")
        return [{ upstream, rcode }, value] as const
      }),
  },
  openvpn_client_data_plane_heartbeat_age_seconds: {
    type: "gauge",
    help: "Since the data plane last came round its loop, which is at least once a second.",
    read: ({ workerAge }) => workerAge / 1000,
  },
  openvpn_client_build_info: {
    type: "gauge",
    labels: ["version"],
    help: "1, with the version.",
    read: () => [[{ version }, 1]],
  },
  process_resident_memory_bytes: {
    type: "gauge",
    help: "Resident memory of the process.",
    read: () => process.memoryUsage.rss(),
  },
  process_cpu_seconds_total: {
    type: "counter",
    help: "Processor time of the process, user and system.",
    read: () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    },
  },
  process_start_time_seconds: {
    type: "gauge",
    help: "Unix time at which the process started.",
    read: ({ unixTime }) => Math.round(unixTime / 1000 - process.uptime()),
  },
} as const satisfies Readonly<Record<string, Metric>>
