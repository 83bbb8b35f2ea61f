/** Where the server's certificate comes from: a value that may change while the server runs. */
import { readFileSync } from "node:fs"
import { Data, type Duration, Effect, Runtime, SubscriptionRef } from "effect"
import { type KeyPair, readPair } from "./x509.ts"

export class InjectorError extends Data.TaggedError("InjectorError")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 71
}

export interface CertificateSource {
  readonly current: SubscriptionRef.SubscriptionRef<KeyPair>
  /** Keeps `current` fresh; what goes wrong is logged and tried again. */
  readonly watch: Effect.Effect<never>
}

/**
 * Files that somebody else renews. They are read rather than watched: kubelet swaps a symbolic link two levels up, and a read
 * every few seconds sees that on every file system.
 */
export const fromFiles = Effect.fnUntraced(function* (
  files: { readonly certificate: string; readonly key: string },
  every: Duration.Input,
) {
  const read = Effect.try({
    try: (): KeyPair => ({
      certificate: readFileSync(files.certificate, "utf8"),
      key: readFileSync(files.key, "utf8"),
    }),
    catch: (error) =>
      new InjectorError({
        message: `reading the certificate ${files.certificate} and its key ${files.key}: ${(error as { readonly code?: string }).code ?? "unreadable"}`,
      }),
  }).pipe(
    Effect.filterOrFail(
      (pair) => readPair(pair) !== undefined,
      () =>
        new InjectorError({
          message: `the certificate in ${files.certificate} and the key in ${files.key} cannot be read or do not belong together`,
        }),
    ),
  )
  const current = yield* SubscriptionRef.make(yield* read)
  const look = Effect.gen(function* () {
    const pair = yield* read
    if (pair.certificate !== (yield* SubscriptionRef.get(current)).certificate) yield* replace(current, pair)
  }).pipe(
    // Half of a renewal looks like this too; the pair in use stays.
    Effect.catch((error) =>
      Effect.logWarning(error.message).pipe(Effect.annotateLogs({ event: "certificate_refused" })),
    ),
  )
  return { current, watch: Effect.forever(Effect.andThen(Effect.sleep(every), look)) } satisfies CertificateSource
})

export const replace = (current: CertificateSource["current"], pair: KeyPair) =>
  Effect.andThen(
    SubscriptionRef.set(current, pair),
    Effect.logInfo("the server has a new certificate").pipe(
      Effect.annotateLogs({
        event: "certificate_loaded",
        notAfter: new Date(readPair(pair)?.notAfter ?? 0).toISOString(),
      }),
    ),
  )

/** Whether TLS can work now, with the reason. */
export const certificateNow = (current: CertificateSource["current"]) => {
  const read = readPair(SubscriptionRef.getUnsafe(current))
  if (read === undefined) return { ok: false, reason: "the certificate is unreadable" }
  const end = new Date(read.notAfter).toISOString()
  return Date.now() > read.notAfter
    ? { ok: false, reason: `the certificate expired at ${end}` }
    : { ok: true, reason: `the certificate is valid until ${end}` }
}
