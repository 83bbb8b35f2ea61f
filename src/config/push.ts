/**
 * What a server pushes, read by the same directive table as a file. Kept apart from the file's own options:
 * a reconnect starts from the file again.
 */
import { Schema } from "effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { decodeBase64 } from "./base64.ts"
import { Diagnostics, quote } from "./diagnostic.ts"
import { isDirective, rowOf } from "./directives.ts"
import { type Statement, splitWords } from "./lexer.ts"
import { keepaliveOptions, networkOptions } from "./options.ts"
import { KeepaliveOptions, NetworkOptions, type Profile } from "./profile.ts"
import { readSettings } from "./reader.ts"
import type { Settings } from "./settings.ts"

const optional = Schema.UndefinedOr

export const Pushed = Schema.Struct({
  network: NetworkOptions,
  keepalive: KeepaliveOptions,
  /** The negotiated data cipher, upper case, not yet compared with what we offer. */
  cipher: optional(Schema.String),
  /** 0..0xfffffe */
  peerId: optional(Schema.Int),
  /** `protocol-flags` and `key-derivation tls-ekm`, as a list of flags. */
  protocolFlags: Schema.Array(Schema.String),
  tunMtu: optional(Schema.Int),
  explicitExitNotify: optional(Schema.Int),
  authToken: optional(Schema.Redacted(Schema.String)),
  /** Decoded. */
  authTokenUser: optional(Schema.String),
  /** A `compress`/`comp-lzo` that needs framing or decompression, as written; undefined when none was pushed. */
  compression: optional(Schema.String),
  sndbuf: optional(Schema.Int),
  rcvbuf: optional(Schema.Int),
})
export type Pushed = typeof Pushed.Type

export interface PushPolicy {
  readonly pullFilters: Profile["pullFilters"]
  readonly routeNopull: boolean
  /** `allow-pull-fqdn`: routes may have host names in them. */
  readonly allowPullFqdn?: boolean
}

export interface PushRead {
  readonly pushed: Pushed
  /** Why an option was skipped, where that may matter; one note for each, without secrets. */
  readonly notes: ReadonlyArray<string>
  /** The option that a `pull-filter reject` matched: the attempt must end. */
  readonly rejected: string | undefined
}

/**
 * Reads a server's options. `messages` are the texts after `PUSH_REPLY,` of all continuation parts, in order. Options are split at
 * every comma, then read like lines of a file; an option that is unknown, malformed or not a server's to set is skipped with a note.
 */
export const readPush = (messages: ReadonlyArray<string>, policy: PushPolicy): PushRead => {
  const notes: Array<string> = []
  const statements: Array<Statement> = []
  let rejected: string | undefined
  const options = messages
    .flatMap((message) => message.split(",", maximumOptions + 1))
    .map((option) => option.trimStart())
  for (const [index, option] of options.slice(0, maximumOptions).entries()) {
    if (option === "") continue
    const name = nameOf(option)
    const action = policy.pullFilters.find(({ prefix }) => option.startsWith(prefix))?.action
    if (action === "reject") rejected ??= isSecret(name) ? name : option.slice(0, maximumOptionLength)
    if (action === "ignore" || action === "reject") notes.push(`${quote(name)} is skipped: pull-filter ${action}`)
    else if (policy.routeNopull && isDirective(name) && (rowOf(name).push === "route" || rowOf(name).push === "dns"))
      notes.push(`${quote(name)} is skipped: route-nopull`)
    else if (option.length > maximumOptionLength)
      notes.push(`${quote(name)} is skipped: it has more than ${maximumOptionLength} characters`)
    else {
      const words = splitWords(option, index + 1)
      if (Result.isFailure(words)) notes.push(`${quote(name)} is skipped: ${words.failure.message}`)
      else if (words.success[0] !== undefined) {
        statements.push({ name: words.success[0], words: words.success.slice(1), block: undefined })
      }
    }
  }
  if (options.length > maximumOptions)
    notes.push(`the server pushed more than ${maximumOptions} options: the others are skipped`)
  const report = new Diagnostics("push")
  const pushed = pushedOf(readSettings(statements, "push", report), policy.allowPullFqdn ?? false, report)
  return {
    pushed,
    notes: [
      ...notes,
      ...report
        .sorted()
        .filter(({ severity }) => severity !== "info")
        .map(({ message }) => message),
    ],
    rejected,
  }
}

const pushedOf = (settings: Settings, names: boolean, report: Diagnostics): Pushed => {
  const exitNotify = settings.last("explicit-exit-notify")?.values
  const token = settings.last("auth-token")?.values[0]
  const compression = settings.lastOf("compress", "comp-lzo")
  return {
    network: networkOptions(settings, names, report),
    keepalive: keepaliveOptions(settings),
    cipher: settings.last("cipher")?.values[0].toUpperCase(),
    peerId: settings.last("peer-id")?.values[0],
    protocolFlags: [
      ...new Set([
        ...settings.all("protocol-flags").flatMap(({ values }) => values),
        ...(settings.has("key-derivation") ? ["tls-ekm"] : []),
      ]),
    ],
    tunMtu: settings.last("tun-mtu")?.values[0],
    explicitExitNotify: exitNotify === undefined ? undefined : (exitNotify[0] ?? 1),
    authToken: token === undefined ? undefined : Redacted.make(token),
    authTokenUser: authTokenUserOf(settings, report),
    compression: compression && [compression.name, ...compression.values].join(" "),
    sndbuf: settings.last("sndbuf")?.values[0],
    rcvbuf: settings.last("rcvbuf")?.values[0],
  }
}

/** The name is pushed in base64. */
const authTokenUserOf = (settings: Settings, report: Diagnostics): string | undefined => {
  const setting = settings.last("auth-token-user")
  if (setting === undefined) return undefined
  const bytes = decodeBase64(setting.values[0])
  if (bytes === undefined) report.error(setting, `"auth-token-user" is not base64`)
  return bytes && new TextDecoder().decode(bytes)
}

const nameOf = (option: string): string => option.split(/\s/, 1)[0]!

const isSecret = (name: string): boolean => isDirective(name) && rowOf(name).secret === true

/** OpenVPN's own limit for a line; and far more options than control messages of 2 KiB could be meant to carry. */
const maximumOptionLength = 255
const maximumOptions = 2000
