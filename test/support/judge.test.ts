import { expect, test } from "bun:test"
import { Judge, type Look, type Said } from "./judge.ts"

const counters = {
  tunReadPackets: 7,
  tunReadBytes: 700,
  tunWritePackets: 5,
  tunWriteBytes: 500,
  transportReadBytes: 900,
  transportWriteBytes: 1200,
}

const said = (change: Partial<Said["status"]> = {}, isReady = true): Said => ({
  isReady,
  status: {
    phase: "connected",
    since: 1,
    checks: [{ name: "tunnel", ok: isReady }],
    addresses: ["10.66.0.2/24"],
    counters,
    ...change,
  },
})

const metrics = (change: Readonly<Record<string, number>> = {}) =>
  new Map(
    Object.entries({
      openvpn_client_ready: 1,
      openvpn_client_connected: 1,
      'openvpn_client_state{state="connected"}': 1,
      openvpn_client_tun_tap_read_packets_total: 7,
      openvpn_client_tun_tap_read_bytes_total: 700,
      openvpn_client_tun_tap_write_packets_total: 5,
      openvpn_client_tun_tap_write_bytes_total: 500,
      openvpn_client_tcp_udp_read_bytes_total: 900,
      openvpn_client_tcp_udp_write_bytes_total: 1200,
      ...change,
    }),
  )

/** All is well at this time, but for the change. */
const look = (at: number, change: Partial<Look> = {}): Look => ({
  from: at,
  to: at + 10,
  before: said(),
  metrics: metrics(),
  after: said(),
  isFrozen: false,
  addresses: ["10.66.0.2", "fd66::1000"],
  written: [5, 5],
  lastReply: at,
  isFlowing: true,
  ...change,
})

/** The contradictions of looks every 100 ms, without the time. */
const told = (milliseconds: number, change: (at: number) => Partial<Look> = () => ({})) => {
  const judge = new Judge()
  for (let at = 0; at <= milliseconds; at += 100) judge.look(look(at, change(at)))
  return judge.contradictions.map((line) => line.replace(/^\S+ /, ""))
}

const refused = said({ phase: "waiting" }, false)
const refusedMetrics = metrics({
  openvpn_client_ready: 0,
  openvpn_client_connected: 0,
  'openvpn_client_state{state="connected"}': 0,
  'openvpn_client_state{state="waiting"}': 1,
})

test("a client that says what is true contradicts nobody", () => {
  expect(told(60_000)).toEqual([])
  const isDown = { before: refused, after: refused, metrics: refusedMetrics, isFlowing: false, lastReply: 0 }
  expect(told(60_000, () => isDown)).toEqual([])
})

test("answers of one state that differ are a contradiction at once", () => {
  expect(told(0, () => ({ metrics: metrics({ openvpn_client_ready: 0 }) }))).toEqual([
    "/readyz says true, its metric false",
  ])
  expect(told(0, () => ({ metrics: metrics({ openvpn_client_connected: 0 }) }))).toEqual([
    "connected, the metric says false",
  ])
  expect(told(0, () => ({ metrics: metrics({ 'openvpn_client_state{state="connected"}': 0 }) }))).toEqual([
    "connected, the metric of this state says 0",
  ])
  const failing = said({ checks: [{ name: "dns", ok: false }] })
  expect(told(0, () => ({ before: failing, after: failing }))).toEqual(["/readyz says true, /status: [dns] fails"])
})

test("answers that differ while the client changes are none", () => {
  const change = { before: refused, metrics: metrics(), after: said({ since: 2 }) }
  expect(told(0, () => change)).toEqual([])
})

test("ready for five seconds while nothing comes", () => {
  expect(told(5000, () => ({ lastReply: -1 }))).toEqual([])
  expect(told(6000, () => ({ lastReply: -1 }))).toEqual(["ready, and nothing comes, for more than 5000 ms"])
})

test("a server that is heard is there, but not for ever when nothing passes", () => {
  const heardAt =
    (...times: ReadonlyArray<number>) =>
    (at: number) => ({
      lastReply: -1,
      after: said({ counters: { ...counters, lastReceive: times.findLast((time) => time <= at) ?? 0 } }),
    })
  expect(told(8000, heardAt(4000))).toEqual([])
  expect(told(9500, heardAt(4000))).toEqual(["ready, and nothing comes, for more than 5000 ms"])
  expect(told(15_000, heardAt(4000, 8000, 12_000))).toEqual([])
  expect(told(15_500, heardAt(4000, 8000, 12_000))).toEqual(["ready, and nothing passes, for more than 15000 ms"])
})

test("traffic for two seconds, and not ready", () => {
  const change = { before: refused, after: refused, metrics: refusedMetrics }
  expect(told(2000, () => change)).toEqual([])
  expect(told(3000, () => change)).toEqual(["traffic passes, and not ready, for more than 2000 ms"])
})

test("nobody answers for three seconds, unless the process is frozen", () => {
  const silence = { before: undefined, metrics: undefined, after: undefined }
  expect(told(4000, () => silence)).toEqual(["nobody answers over HTTP, for more than 3000 ms"])
  expect(told(4000, () => ({ ...silence, isFrozen: true }))).toEqual([])
})

test("ready, and nothing comes: the time in which the process was frozen does not count", () => {
  const frozen = { before: undefined, metrics: undefined, after: undefined, isFrozen: true }
  const silent = (at: number) => (at >= 1000 && at < 3000 ? { ...frozen, lastReply: 0 } : { lastReply: 0 })
  expect(told(7900, silent)).toEqual([])
  expect(told(8200, silent)).toEqual(["ready, and nothing comes, for more than 5000 ms"])
})

test("an address of the status that the device does not have", () => {
  expect(told(2000, () => ({ addresses: [] }))).toEqual([
    "connected, with addresses that the device does not have, for more than 1000 ms",
  ])
  // Each time a moment.
  expect(told(5000, (at) => (at % 1000 === 0 ? { addresses: [] } : {}))).toEqual([])
})

test("a counter that goes back, in one answer or from one look to the next", () => {
  const fewer = metrics({ openvpn_client_tun_tap_write_bytes_total: 499 })
  expect(told(0, () => ({ metrics: fewer }))).toEqual(["tunWriteBytes: /metrics says 499 after 500"])
  const reset = said({ counters: { ...counters, tunReadPackets: 0 } })
  expect(told(100, (at) => (at === 0 ? {} : { before: reset }))).toEqual(["tunReadPackets: /status says 0 after 7"])
})

test("packets that the kernel counts and the client does not, or the other way round", () => {
  expect(told(0, () => ({ written: [70, 70] }))).toEqual(["65 packets came to the device uncounted"])
  expect(told(0, () => ({ written: [4, 4] }))).toEqual(["5 packets counted, and the device had 4"])
})

test("who was not awake cannot tell how long something lasted", () => {
  const judge = new Judge()
  for (const at of [0, 10_000, 20_000]) judge.look(look(at, { lastReply: -1 }))
  expect(judge.contradictions).toEqual([])
})
