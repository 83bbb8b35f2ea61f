/** What the sidecar looks at, for tests: a status and counters that the test sets. */
import type { Observation } from "../../src/sidecar/index.ts"
import type { Status } from "../../src/tunnel/index.ts"

export const idle: Status = {
  phase: "connecting",
  since: 0,
  device: "tun0",
  remote: "udp://192.0.2.1:1194",
  attempts: 1,
  connects: 0,
  nextTry: undefined,
  lastError: undefined,
  tls: undefined,
  cipher: undefined,
  keyId: undefined,
  keySince: undefined,
  renegotiations: 0,
  addresses: [],
  mtu: undefined,
  networkManaged: true,
  killSwitch: "on",
  deadAfter: undefined,
  routes: [],
  readyCheck: undefined,
  dns: undefined,
  dnsQueries: {},
  refused: { ipv4: 0, ipv6: 0 },
  timeline: [],
}

export const world = (status: Partial<Status>, counters: Readonly<Record<string, number>> = {}) => ({
  observe: (): Observation => ({ status: { ...idle, ...status }, workerAge: 100, receiveAge: 1000, phaseAge: 60_000 }),
  counters: () => ({ "drop:replay": 0, ...counters }),
})
