/** A profile as plain JSON, for other programs and for comparison. */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { encodeBase64 } from "./base64.ts"
import type { ReadFile } from "./content.ts"
import { parse } from "./parse.ts"
import { print } from "./print.ts"
import type { Profile } from "./profile.ts"

export type Json = string | number | boolean | null | ReadonlyArray<Json> | { readonly [key: string]: Json }

/** Bytes are base64; what is undefined is left out. Without `secrets` "<redacted>" stands in the place of each. */
export const profileJson = (profile: Profile, options: { readonly secrets?: boolean } = {}): Json =>
  json(profile, options.secrets ?? false)

/**
 * Whether what `print` writes with secrets parses back to an equal profile: always, unless there is a defect in the one or the
 * other.
 */
export const readsBack = (profile: Profile): boolean => {
  const text = print(profile, { secrets: true })
  // What stays outside are directories, and with `auth-nocache` the file of the login; what they hold says nothing here.
  const read: ReadFile = ({ directive, kind }) => {
    if (kind === "directory") return Result.succeed(new Uint8Array())
    if (directive === "auth-user-pass") return Result.succeed(new TextEncoder().encode("user\npassword\n"))
    return Result.fail("all is in the file")
  }
  const again = parse(text, { file: "canonical", read })
  return Result.isSuccess(again) && revealed(again.success.profile) === revealed(profile)
}

const revealed = (profile: Profile): string => JSON.stringify(profileJson(profile, { secrets: true }))

const json = (value: unknown, secrets: boolean): Json => {
  if (Redacted.isRedacted(value)) return secrets ? json(Redacted.value(value), secrets) : "<redacted>"
  if (value instanceof Uint8Array) return encodeBase64(value)
  if (Array.isArray(value)) return value.map((item) => json(item, secrets))
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined)
    // Sorted, so that equal profiles have equal texts.
    return Object.fromEntries(
      entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, json(item, secrets)]),
    )
  }
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : null
}
