/** What the sidecar looks at, for tests: a status and counters that the test sets. */
import type { Observation } from "../../src/sidecar/index.ts"
import type { Status } from "../../src/tunnel/index.ts"
import { initialStatus } from "../../src/tunnel/status.ts"

export const idle: Status = {
  ...initialStatus(0),
  phase: "connecting",
  device: "tun0",
  remote: "udp://192.0.2.1:1194",
  attempts: 1,
  killSwitch: "on",
}

export const world = (status: Partial<Status>, counters: Readonly<Record<string, number>> = {}) => ({
  observe: (): Observation => ({ status: { ...idle, ...status }, workerAge: 100, receiveAge: 1000, phaseAge: 60_000 }),
  counters: () => ({ "drop:replay": 0, ...counters }),
})
