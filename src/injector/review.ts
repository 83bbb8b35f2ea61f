/**
 * One AdmissionReview in, one out. Pure, and total: whatever the text, the answer is a review that says yes or no, or the
 * reason why the text cannot be answered as a review.
 */
import { Result } from "effect"
import { inject, type Verdict } from "./inject.ts"
import { type AdmissionRequest, decodePod, type Pod } from "./kubernetes.ts"
import type { Defaults } from "./sidecar.ts"

export interface Answer {
  /** The AdmissionReview to send back. */
  readonly body: string
  readonly verdict: Verdict
  readonly namespace: string
  /** As far as it is known: the API server names pods of a controller later. */
  readonly pod: string
}

/** `read` is what `decodeReview` made of the body. */
export const answer = (
  request: AdmissionRequest,
  defaults: Defaults,
  namespaceLabels: Readonly<Record<string, string>> | undefined,
): Answer => {
  const isNewPod = request.operation === "CREATE" && request.kind.kind === "Pod" && (request.kind.group ?? "") === ""
  const pod = isNewPod ? decodePod(request.object) : undefined
  const verdict: Verdict =
    pod === undefined
      ? { outcome: "skipped", reason: "not-a-new-pod" }
      : Result.isSuccess(pod)
        ? inject(pod.success, request.object, defaults, namespaceLabels)
        : { outcome: "refused", reason: "unreadable-pod", message: `the pod cannot be read: ${pod.failure}` }
  return {
    body: JSON.stringify({
      apiVersion: "admission.k8s.io/v1",
      kind: "AdmissionReview",
      response: { uid: request.uid, ...response(verdict) },
    }),
    verdict,
    namespace: request.namespace ?? "",
    pod: pod === undefined || Result.isFailure(pod) ? "" : nameOf(pod.success),
  }
}

const response = (verdict: Verdict) => {
  switch (verdict.outcome) {
    case "injected":
      return {
        allowed: true,
        patchType: "JSONPatch",
        patch: Buffer.from(JSON.stringify(verdict.patch)).toString("base64"),
        ...(verdict.warnings.length === 0 ? {} : { warnings: verdict.warnings }),
        auditAnnotations: { status: "injected" },
      }
    case "skipped":
      return { allowed: true, auditAnnotations: { status: `skipped: ${verdict.reason}` } }
    case "refused":
      return {
        allowed: false,
        status: { status: "Failure", code: 422, reason: "Invalid", message: `culvert: ${verdict.message}` },
        auditAnnotations: { status: `refused: ${verdict.reason}` },
      }
  }
}

const nameOf = ({ metadata }: Pod): string =>
  metadata.name ?? (metadata.generateName ? `${metadata.generateName}*` : "")
