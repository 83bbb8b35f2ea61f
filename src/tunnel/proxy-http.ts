/** HTTP CONNECT: RFC 9110 section 9.3.6; Basic of RFC 7617 and Digest of RFC 7616. */
import { Effect, Redacted } from "effect"
import type { ProxyServer, Remote } from "../config/index.ts"
import type { Handshake, ProxyStream, ProxyUser } from "./proxy.ts"
import { TransportError } from "./socket.ts"

type HttpProxy = Extract<ProxyServer, { readonly _tag: "Http" }>

/**
 * Without a challenge nothing is said about the user, unless the file says `basic`; of the challenges that a proxy offers Digest
 * is taken before Basic, in which the password goes in clear.
 */
export const httpConnect = (
  proxy: HttpProxy,
  remote: Pick<Remote, "host" | "port">,
  user: Effect.Effect<ProxyUser, TransportError>,
): Handshake =>
  proxy.authentication?.method === "basic"
    ? (stream) => Effect.flatMap(user, (known) => ask(proxy, remote, user, basic(known))(stream))
    : ask(proxy, remote, user, undefined)

/** One request; `authorization` undefined: the first one, which may be answered by a challenge. */
const ask =
  (
    proxy: HttpProxy,
    remote: Pick<Remote, "host" | "port">,
    user: Effect.Effect<ProxyUser, TransportError>,
    authorization: string | undefined,
  ): Handshake =>
  (stream) =>
    Effect.gen(function* () {
      const target = `${remote.host.includes(":") ? `[${remote.host}]` : remote.host}:${remote.port}`
      const lines = [
        `CONNECT ${target} HTTP/${proxy.version}`,
        `Host: ${target}`,
        ...(proxy.userAgent === undefined ? [] : [`User-Agent: ${proxy.userAgent}`]),
        ...proxy.headers.map(([name, value]) => `${name}: ${value}`),
        ...(authorization === undefined ? [] : [`Proxy-Authorization: ${authorization}`]),
      ]
      yield* stream.write(new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`))
      const answer = yield* readAnswer(stream)
      if (answer.status >= 200 && answer.status < 300) return "open" as const
      if (answer.status !== 407) return yield* refuse(`it answered ${answer.status}${answer.reason}`)
      if (authorization !== undefined) return yield* refuse("it refused the user name or the password (407)")
      if (proxy.authentication === undefined) {
        return yield* refuse("it wants a user name and a password (407); http-proxy-user-pass gives them")
      }
      const known = yield* user
      const chosen =
        digest(answer.challenges, known, target) ??
        (proxy.authentication.method !== "any-but-basic" && answer.challenges.some(({ scheme }) => scheme === "basic")
          ? basic(known)
          : undefined)
      if (chosen === undefined) {
        const offered = answer.challenges.map(({ scheme }) => scheme).join(", ") || "nothing"
        return yield* refuse(`it offers no authentication that may be used, but ${offered}`)
      }
      return ask(proxy, remote, user, chosen)
    })

interface Challenge {
  /** In small letters. */
  readonly scheme: string
  readonly parameters: Readonly<Record<string, string>>
}

interface Answer {
  readonly status: number
  /** With a space before it, or empty. */
  readonly reason: string
  readonly challenges: ReadonlyArray<Challenge>
}

/** Up to the empty line and not a byte further: what follows is the server's. */
const readAnswer = Effect.fnUntraced(function* (stream: ProxyStream) {
  let text = ""
  while (!text.endsWith("\r\n\r\n") && !text.endsWith("\n\n")) {
    if (text.length >= longestAnswer) return yield* refuse(`its answer has more than ${longestAnswer} bytes`)
    text += String.fromCharCode((yield* stream.read(1))[0]!)
  }
  const answer = parseAnswer(text)
  return answer ?? (yield* refuse("its answer is no HTTP"))
})

/** Undefined: no HTTP. Apart for tests. */
export const parseAnswer = (text: string): Answer | undefined => {
  const [first = "", ...fields] = text.split(/\r?\n/)
  const status = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(first)
  if (status === null) return undefined
  // It stands in a log line: printable, and not all of a long one.
  const reason = (status[2] ?? "").replace(/[^\x20-\x7e]/g, "").slice(0, 80)
  const challenges = fields.flatMap((field) => {
    const header = /^proxy-authenticate:\s*([!-~]+)\s*(.*)$/i.exec(field)
    return header === null ? [] : [{ scheme: header[1]!.toLowerCase(), parameters: parametersOf(header[2]!) }]
  })
  return { status: Number(status[1]), reason: reason === "" ? "" : ` ${reason}`, challenges }
}

const parametersOf = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    [...text.matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/g)].map(([, name, quoted, plain]) => [
      name!.toLowerCase(),
      quoted === undefined ? plain! : quoted.replace(/\\(.)/g, "$1"),
    ]),
  )

const basic = ({ username, password }: ProxyUser): string =>
  `Basic ${Buffer.from(`${username}:${Redacted.value(password)}`).toString("base64")}`

/** The answer to the first Digest challenge that we can answer. `clientNonce` is for tests. */
export const digest = (
  challenges: ReadonlyArray<Challenge>,
  { username, password }: ProxyUser,
  target: string,
  clientNonce = crypto.getRandomValues(new Uint8Array(16)).toHex(),
): string | undefined => {
  for (const { scheme, parameters } of challenges) {
    const { realm = "", nonce, opaque, algorithm = "MD5", qop } = parameters
    const hashName = digestHashes[algorithm.toLowerCase()]
    const withQop = qop?.split(",").some((offer) => offer.trim().toLowerCase() === "auth") ?? false
    if (scheme !== "digest" || nonce === undefined || hashName === undefined || (qop !== undefined && !withQop))
      continue
    const hash = (text: string) => new Bun.CryptoHasher(hashName).update(text).digest("hex")
    const plain = hash(`${username}:${realm}:${Redacted.value(password)}`)
    const secret = algorithm.toLowerCase().endsWith("-sess") ? hash(`${plain}:${nonce}:${clientNonce}`) : plain
    const request = hash(`CONNECT:${target}`)
    const response = withQop
      ? hash(`${secret}:${nonce}:00000001:${clientNonce}:auth:${request}`)
      : hash(`${secret}:${nonce}:${request}`)
    return [
      `Digest username=${quoted(username)}, realm=${quoted(realm)}, nonce=${quoted(nonce)}, uri=${quoted(target)}`,
      `algorithm=${algorithm}, response="${response}"`,
      ...(withQop ? [`qop=auth, nc=00000001, cnonce="${clientNonce}"`] : []),
      ...(opaque === undefined ? [] : [`opaque=${quoted(opaque)}`]),
    ].join(", ")
  }
  return undefined
}

const quoted = (text: string): string => `"${text.replace(/["\\]/g, "\\$&")}"`

const refuse = (message: string) => Effect.fail(new TransportError({ message }))

const digestHashes: Readonly<Record<string, "md5" | "sha256">> = {
  md5: "md5",
  "md5-sess": "md5",
  "sha-256": "sha256",
  "sha-256-sess": "sha256",
}

const longestAnswer = 16_384
