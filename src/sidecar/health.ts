/** What the probes answer, as pure functions of what is known. Each check says why it holds or not. */
import type { Status } from "../tunnel/index.ts"

export interface Observation {
  readonly status: Status
  /** Milliseconds since the data-plane worker last came round its loop. */
  readonly workerAge: number
  /** Milliseconds since the last authenticated packet; undefined when there was none yet. */
  readonly receiveAge: number | undefined
  /** Milliseconds since the phase last changed. */
  readonly phaseAge: number
}

export interface Check {
  readonly name: string
  readonly ok: boolean
  readonly reason: string
}

/** The process itself: never the server, so that kubelet does not restart what reconnects by itself. */
export const liveness = (seen: Observation): ReadonlyArray<Check> => [
  { name: "event-loop", ok: true, reason: "answering" },
  {
    name: "data-plane",
    ok: seen.workerAge < workerLimit,
    reason: `the worker's last turn was ${Math.round(seen.workerAge)} ms ago (limit ${workerLimit})`,
  },
]

/** Packets pass: connected, addresses and routes in place, and the server heard within its ping window. */
export const readiness = (seen: Observation): ReadonlyArray<Check> => {
  const { phase, deadAfter, lastError, killSwitch, dns, readyCheck } = seen.status
  // The keepalive policy ends the connection at `deadAfter`, control packets counted; this catches one that does not.
  const limit = deadAfter === undefined ? undefined : deadAfter * 1000 + policySlack
  // A new connection does not answer for the silence of the one before: its handshake was authentic as well.
  const heard = Math.min(seen.receiveAge ?? Number.POSITIVE_INFINITY, seen.phaseAge)
  return [
    ...liveness(seen),
    {
      name: "kill-switch",
      ok: killSwitch !== undefined && killSwitch !== "lost",
      reason: killSwitch === undefined ? "not set yet" : killSwitchReasons[killSwitch],
    },
    {
      name: "tunnel",
      ok: phase === "connected",
      reason:
        phase === "connected"
          ? `connected to ${seen.status.remote}`
          : `${phase}${lastError === undefined ? "" : `: ${lastError}`}`,
    },
    {
      name: "server-heard",
      ok: phase === "connected" && (limit === undefined || heard < limit),
      reason:
        phase !== "connected"
          ? "not connected"
          : `${Math.round(heard / 1000)} s ago${limit === undefined ? "" : ` (limit ${deadAfter} s)`}`,
    },
    ...(dns === undefined ? [] : [{ name: "dns", ok: dns.ok, reason: dns.reason }]),
    ...(readyCheck === undefined
      ? []
      : [{ name: "ready-check", ok: readyCheck.ok, reason: `${readyCheck.target}: ${readyCheck.reason}` }]),
  ]
}

/** The worker wakes at least once a second. */
const workerLimit = 5000

const killSwitchReasons = {
  on: "on",
  off: "off, as asked",
  none: "none: no CAP_NET_ADMIN",
  lost: "somebody removed it, and it cannot be set again",
} as const

/** ms; so that probe and phase do not contradict each other in the moment in which the policy acts. */
const policySlack = 1000
