/**
 * The webhook's own certificate authority. The CA lives in a Secret that all replicas share; each replica makes its own
 * short-lived leaf from it and none waits for a leader: the Secret is written with the version that was read, so of two
 * replicas one wins and the other takes what it finds. The caBundle holds the CA before beside the present one, so that a
 * leaf of either is trusted while a change goes round.
 */
import { X509Certificate } from "node:crypto"
import { Clock, type Duration, Effect, Ref, Schema, SubscriptionRef } from "effect"
import { type CertificateSource, InjectorError, replace } from "./certificates.ts"
import { type KubeApi, KubeError } from "./kubeapi.ts"
import { issue, type KeyPair, makeAuthority, readPair } from "./x509.ts"

export interface AuthorityPlaces {
  readonly namespace: string
  readonly service: string
  readonly secret: string
  /** Name of the MutatingWebhookConfiguration. */
  readonly webhook: string
}

/** Fails when there is no certificate to begin with; later troubles are logged and tried again. */
export const ownAuthority = Effect.fnUntraced(function* (
  api: KubeApi,
  places: AuthorityPlaces,
  every: Duration.Input = "1 minute",
) {
  const first = yield* renew(api, places).pipe(
    Effect.mapError(
      (error) => new InjectorError({ message: `making the webhook's own certificate: ${error.message}` }),
    ),
  )
  const made = yield* SubscriptionRef.make(yield* leafOf(first, places))
  const used = yield* Ref.make({ signer: first.certificate, seen: first.certificate })
  const step = Effect.gen(function* () {
    const authority = yield* renew(api, places)
    const { signer, seen } = yield* Ref.get(used)
    // One round later than the bundle: every API server has to know a CA before a leaf of it is shown.
    const next = authority.certificate === seen ? authority.certificate : signer
    const stale = next !== signer || (yield* remaining(yield* SubscriptionRef.get(made))) < 1 / 3
    if (stale) yield* replace(made, yield* leafOf(authority, places))
    yield* Ref.set(used, { signer: stale ? authority.certificate : signer, seen: authority.certificate })
  }).pipe(
    Effect.catch((error) => Effect.logWarning(error.message).pipe(Effect.annotateLogs({ event: "authority_failed" }))),
  )
  return {
    current: made,
    watch: Effect.forever(Effect.andThen(Effect.sleep(every), step)),
  } satisfies CertificateSource
})

interface Authority extends KeyPair {
  readonly previous: string | undefined
}

/** Brings the Secret and the caBundle to what they should be. */
const renew = Effect.fnUntraced(function* (api: KubeApi, places: AuthorityPlaces) {
  const authority = yield* keep(api, places).pipe(
    Effect.retry({ times: 3, while: (error) => error.status === conflict }),
  )
  yield* announce(api, places, `${authority.certificate}${authority.previous ?? ""}`)
  return authority
})

const keep = Effect.fnUntraced(function* (api: KubeApi, { namespace, secret }: AuthorityPlaces) {
  const path = `/api/v1/namespaces/${namespace}/secrets/${secret}`
  const found = yield* decode(Secret, yield* api.request("GET", path), path)
  const stored = readSecret(found.data ?? {})
  if (stored !== undefined && (yield* remaining(stored)) > 1 / 10) {
    // The CA before is let go once none of its leaves can be in use.
    const stillNeeded = stored.previous !== undefined && (yield* age(stored)) < 2 * leafLifetime
    return { ...stored, previous: stillNeeded ? stored.previous : undefined }
  }
  const at = yield* Clock.currentTimeMillis
  const made: Authority = {
    ...makeAuthority("culvert-injector", { from: at - skew, to: at + authorityLifetime }),
    previous: stored?.certificate,
  }
  yield* api.request("PUT", path, {
    type: "application/json",
    value: { ...found, data: writeSecret(made) },
  })
  yield* Effect.logInfo("a new certificate authority is made").pipe(
    Effect.annotateLogs({
      event: "authority_made",
      because: stored === undefined ? "there was none" : "the old one ends",
    }),
  )
  return made
})

/** Other controllers may rewrite the configuration at any time, so this is looked at every time. */
const announce = Effect.fnUntraced(function* (api: KubeApi, places: AuthorityPlaces, bundle: string) {
  const path = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${places.webhook}`
  const { webhooks } = yield* decode(WebhookConfiguration, yield* api.request("GET", path), path)
  const caBundle = Buffer.from(bundle).toString("base64")
  const patch = (webhooks ?? []).flatMap(({ name, clientConfig }, index) =>
    clientConfig.caBundle === caBundle
      ? []
      : [
          // The list may have changed since it was read.
          { op: "test", path: `/webhooks/${index}/name`, value: name },
          { op: "add", path: `/webhooks/${index}/clientConfig/caBundle`, value: caBundle },
        ],
  )
  if (patch.length === 0) return
  yield* api.request("PATCH", path, { type: "application/json-patch+json", value: patch })
  yield* Effect.logInfo(`the caBundle of ${places.webhook} is written`).pipe(
    Effect.annotateLogs({ event: "ca_bundle_written" }),
  )
})

const leafOf = (authority: KeyPair, { service, namespace }: AuthorityPlaces) =>
  Effect.map(Clock.currentTimeMillis, (at) =>
    issue(authority, [`${service}.${namespace}.svc`, `${service}.${namespace}.svc.cluster.local`], {
      from: at - skew,
      to: at + leafLifetime,
    }),
  )

/** Part of the lifetime that is left; not above zero when it cannot be used. */
const remaining = (pair: KeyPair) =>
  Effect.map(Clock.currentTimeMillis, (at) => {
    const read = readPair(pair)
    return read === undefined ? 0 : (read.notAfter - at) / (read.notAfter - read.notBefore)
  })

const age = (pair: KeyPair) =>
  Effect.map(Clock.currentTimeMillis, (at) => at - Date.parse(new X509Certificate(pair.certificate).validFrom))

const Secret = Schema.StructWithRest(
  Schema.Struct({ data: Schema.optional(Schema.NullOr(Schema.Record(Schema.String, Schema.String))) }),
  [Schema.Record(Schema.String, Schema.Unknown)],
)

const WebhookConfiguration = Schema.Struct({
  webhooks: Schema.optional(
    Schema.Array(
      Schema.Struct({
        name: Schema.String,
        clientConfig: Schema.Struct({ caBundle: Schema.optional(Schema.String) }),
      }),
    ),
  ),
})

const decode = <A>(schema: Schema.Codec<A>, value: unknown, path: string) =>
  Effect.mapError(
    Effect.fromResult(Schema.decodeUnknownResult(schema)(value)),
    () => new KubeError({ message: `GET ${path}: the object is not of the expected shape`, status: undefined }),
  )

/** Undefined when it holds no usable CA: then a new one is made. */
const readSecret = (data: Readonly<Record<string, string>>): Authority | undefined => {
  const text = (key: string) => Buffer.from(data[key] ?? "", "base64").toString()
  const stored = { certificate: text("ca.crt"), key: text("ca.key") }
  const previous = text("previous.crt")
  return readPair(stored)?.isAuthority === true
    ? { ...stored, previous: previous === "" ? undefined : previous }
    : undefined
}

const writeSecret = ({ certificate, key, previous }: Authority): Readonly<Record<string, string>> => {
  const base64 = (text: string) => Buffer.from(text).toString("base64")
  return {
    "ca.crt": base64(certificate),
    "ca.key": base64(key),
    ...(previous === undefined ? {} : { "previous.crt": base64(previous) }),
  }
}

const conflict = 409
const hour = 3_600_000
const leafLifetime = 24 * hour
const authorityLifetime = 365 * 24 * hour
/** The API server's clock may be behind ours. */
const skew = hour / 12
