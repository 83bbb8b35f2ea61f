/** The injector's metrics. */
import { Counter, Gauge, Histogram, Registry } from "prom-client"
import { version } from "../version.ts"
import type { Verdict } from "./inject.ts"

export interface InjectorMetrics {
  readonly registry: Registry
  /** One answered review; `seconds` is what it took. */
  readonly answered: (verdict: Verdict, seconds: number) => void
  /** One request that was no review, by HTTP status. */
  readonly unreadable: (status: number) => void
}

/** `notAfter` gives the end of the certificate in use, Unix seconds. */
export const makeMetrics = (notAfter: () => number): InjectorMetrics => {
  const registry = new Registry()
  const registers = [registry]
  const responses = new Counter({
    name: `${prefix}admission_responses_total`,
    help: "Answered reviews by outcome (injected, skipped, refused) and reason.",
    labelNames: ["outcome", "reason"],
    registers,
  })
  const unreadable = new Counter({
    name: `${prefix}unreadable_requests_total`,
    help: "Requests to the webhook that were no review, by the HTTP status they got.",
    labelNames: ["status"],
    registers,
  })
  const duration = new Histogram({
    name: `${prefix}admission_duration_seconds`,
    help: "Time from a review's last byte to its answer.",
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1],
    registers,
  })
  const expiry = new Gauge({
    name: `${prefix}certificate_expiry_timestamp_seconds`,
    help: "Unix time at which the server's certificate ends.",
    registers,
    collect() {
      expiry.set(notAfter())
    },
  })
  new Gauge({ name: `${prefix}build_info`, help: "1, with the version.", labelNames: ["version"], registers }).set(
    { version },
    1,
  )
  return {
    registry,
    answered: (verdict, seconds) => {
      responses.inc({ outcome: verdict.outcome, reason: "reason" in verdict ? verdict.reason : "" })
      duration.observe(seconds)
    },
    unreadable: (status) => unreadable.inc({ status: String(status) }),
  }
}

const prefix = "culvert_injector_"
