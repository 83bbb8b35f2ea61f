/**
 * A changed configuration or credential, and SIGHUP: the files are read again, and only what is valid is used. What is not
 * leaves the connection as it is, and the log says why.
 *
 * Files are looked at once a second, by name. A mounted ConfigMap or Secret changes by the swap of a symbolic link in the
 * path, which a watch of the file itself does not see, and inotify instances are few on a node with many pods.
 */
import { readFileSync, statSync } from "node:fs"
import { Effect, Equal, Queue, Result } from "effect"
import type { Profile } from "../config/index.ts"
import { StatusRef } from "./status.ts"

/** A valid configuration, and the files that it was made of. */
export interface Configuration {
  readonly profile: Profile
  readonly files: ReadonlyArray<string>
}

export interface ConfigurationSource {
  /** As it is now. The failure says everything that is wrong with it. */
  readonly load: Effect.Effect<Configuration, { readonly message: string }>
  /** Files that are read at each connection, whatever the configuration says: the credentials. */
  readonly credentials: ReadonlyArray<string>
}

/** Never ends. `use` gets each new configuration. */
export const reload = (
  source: ConfigurationSource,
  first: Configuration,
  use: (profile: Profile) => Effect.Effect<void>,
): Effect.Effect<never, never, StatusRef> =>
  Effect.scoped(
    Effect.gen(function* () {
      const status = yield* StatusRef
      const hangups = yield* hangupSignals
      let watched = [...first.files, ...source.credentials]
      let seen = look(watched)
      for (;;) {
        const reason = yield* Effect.raceFirst(Queue.take(hangups), change(watched, seen))
        seen = look(watched)
        const loaded = yield* Effect.result(source.load)
        const next = Result.flatMap(loaded, (configuration) =>
          Equal.equals(configuration.profile.device, first.profile.device)
            ? Result.succeed(configuration)
            : Result.fail({ message: "another `dev` takes a new start of the program" }),
        )
        if (Result.isFailure(next)) {
          const message = `${reason}: the new configuration is not used, the present one stays: ${next.failure.message}`
          yield* status.event("reload_refused", message, { level: "Error", facts: { reason } })
        } else {
          watched = [...next.success.files, ...source.credentials]
          seen = look(watched)
          yield* status.event("reloaded", `${reason}: connecting anew with the configuration of now`, {
            facts: { reason },
          })
          yield* use(next.success.profile)
        }
        // Signals that come in a burst are answered once.
        yield* Effect.sleep(calm)
      }
    }),
  )

const hangupSignals = Effect.gen(function* () {
  const hangups = yield* Queue.sliding<string>(1)
  const listener = () => void Queue.offerUnsafe(hangups, "SIGHUP")
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("SIGHUP", listener)),
    () => Effect.sync(() => process.off("SIGHUP", listener)),
  )
  return hangups
})

interface Seen {
  /** Changes whenever a file may have changed. */
  readonly stamp: string
  /** Changes when one has. */
  readonly digest: string
}

/** Waits until the contents differ from `seen` and have stayed the same for a moment: nobody is writing. */
const change = Effect.fnUntraced(function* (files: ReadonlyArray<string>, seen: Seen) {
  let quiet = seen.stamp
  let before = seen.stamp
  for (;;) {
    yield* Effect.sleep(before === quiet ? interval : settling)
    const stamp = stampOf(files)
    if (stamp !== quiet && stamp === before) {
      if (digestOf(files) !== seen.digest) return "changed files"
      quiet = stamp
    }
    before = stamp
  }
})

const look = (files: ReadonlyArray<string>): Seen => ({ stamp: stampOf(files), digest: digestOf(files) })

/** `stat` follows links, so another target of one is another inode. */
const stampOf = (files: ReadonlyArray<string>): string =>
  files
    .map((file) => {
      const facts = Result.try(() => statSync(file, { bigint: true }))
      if (Result.isFailure(facts)) return "-"
      const { dev, ino, size, mtimeNs } = facts.success
      return `${dev}:${ino}:${size}:${mtimeNs}`
    })
    .join(" ")

const digestOf = (files: ReadonlyArray<string>): string => {
  const hash = new Bun.CryptoHasher("sha256")
  for (const file of files) {
    const content = Result.try(() => readFileSync(file))
    hash.update(Result.isSuccess(content) ? `${content.success.length}:` : "-")
    if (Result.isSuccess(content)) hash.update(content.success)
  }
  return hash.digest("hex")
}

const interval = "1 second"
const settling = "500 millis"
const calm = "1 second"
