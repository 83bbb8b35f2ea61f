/**
 * How the client logs in, over all sessions of one tunnel: one object that outlives them, because a token that a server gave
 * and a challenge that it posed belong to the next session as well.
 *
 *     the user's own ──auth-token pushed──▶ token ──AUTH_FAILED, or RESTART without P──▶ the user's own
 *     any ──AUTH_FAILED,CRV1 and a code at hand──▶ answer ──sent──▶ the user's own
 *
 * The user's own credentials are asked for at the moment they are sent: a rotated Secret is seen at the next handshake, and
 * nothing but a token is kept (OpenVPN keeps it with `auth-nocache` too), and the last one-time code, to know another one.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { AuthFailure } from "./control.ts"

type Secret = Redacted.Redacted<string>

/** What a user has to log in with. */
export interface UserCredentials {
  readonly username: string
  readonly password: Secret
  /** A one-time code, for challenges. */
  readonly code: Secret | undefined
}

/** What a key exchange carries. */
export interface SentCredentials {
  readonly username: string
  readonly password: Secret
}

export interface LoginOptions {
  /** Undefined: there are none to send. A failure says what is missing where. */
  readonly read: () => Result.Result<UserCredentials | undefined, string>
  /** `static-challenge`: how the code travels with the password; undefined: it does not. */
  readonly staticChallenge: "scrv1" | "concat" | undefined
}

export class Login {
  readonly #options: LoginOptions
  #token: { readonly username: string | undefined; readonly token: Secret } | undefined
  #answer: SentCredentials | undefined
  #sent: "token" | "answer" | "own" = "own"
  /** The server did not take it: it is not offered again, lest one wrong code is repeated for ever. */
  #refusedCode: string | undefined
  #sentCode: string | undefined
  /** The server has asked for a code since the last key exchange. */
  #isAsked = false

  constructor(options: LoginOptions) {
    this.#options = options
  }

  /** For the next key exchange. Undefined: none. A failure says what is missing. */
  next(): Result.Result<SentCredentials | undefined, string> {
    const ready = this.#ready()
    if (Result.isFailure(ready)) return Result.fail(ready.failure)
    if (ready.success === undefined) return Result.succeed(undefined)
    const { kind, credentials, code } = ready.success
    this.#sent = kind
    this.#isAsked = false
    if (kind === "answer") this.#answer = undefined
    if (code !== undefined) this.#sentCode = Redacted.value(code)
    return Result.succeed(credentials)
  }

  /** Why `next` would fail now. */
  get missing(): string | undefined {
    const ready = this.#ready()
    return Result.isFailure(ready) ? ready.failure : undefined
  }

  /** The one-time code of now; undefined when there is none. */
  get code(): Secret | undefined {
    return Result.getOrElse(this.#options.read(), () => undefined)?.code
  }

  /** The answer to a question that the server asked in mid-login (CR_TEXT), if there is one. */
  answer(): Secret | undefined {
    this.#isAsked = true
    const { code } = this
    if (code !== undefined) this.#sentCode = Redacted.value(code)
    return code
  }

  /** After a refusal: there is a code which the server, that wanted one, has not seen. */
  get hasOtherCode(): boolean {
    const isWanted = this.#isAsked || this.#sent === "answer" || this.#options.staticChallenge !== undefined
    if (!isWanted) return false
    const { code } = this
    return code !== undefined && Redacted.value(code) !== this.#sentCode
  }

  /** The server let us in. */
  accepted(): void {
    this.#refusedCode = undefined
    this.#sentCode = undefined
  }

  /** `auth-token`, with the name of `auth-token-user` if that was pushed. */
  adopt(token: Secret, username: string | undefined): void {
    this.#token = { token, username: username ?? this.#token?.username }
  }

  /** RESTART or HALT without the flag P. */
  forget(): void {
    this.#token = undefined
    this.#answer = undefined
  }

  /**
   * AUTH_FAILED. "again": the next login is another one and may be tried at once; "refused": the same would be refused again;
   * "unanswered": the server wants a code that is not there, or was refused already.
   */
  refused({ temporary, challenge }: AuthFailure): "again" | "refused" | "unanswered" {
    if (temporary) return "refused"
    const sent = this.#sent
    if (sent === "answer") this.#refusedCode = this.#sentCode
    const hadToken = this.#token !== undefined && sent === "token"
    this.#token = undefined
    if (challenge !== undefined) return this.#take(challenge) ? "again" : "unanswered"
    return hadToken ? "again" : "refused"
  }

  #take({ username, state }: NonNullable<AuthFailure["challenge"]>): boolean {
    this.#isAsked = true
    const code = this.code
    if (code === undefined || Redacted.value(code) === this.#refusedCode) return false
    this.#sentCode = Redacted.value(code)
    this.#answer = {
      username,
      password: Redacted.make(`CRV1::${Redacted.value(state)}::${Redacted.value(code)}`),
    }
    return true
  }

  #ready(): Result.Result<Ready | undefined, string> {
    if (this.#answer !== undefined) return Result.succeed({ kind: "answer", credentials: this.#answer })
    const token = this.#token
    if (token?.username !== undefined) return Result.succeed(withToken(token.username, token.token))
    const own = this.#options.read()
    if (Result.isFailure(own)) return Result.fail(own.failure)
    if (own.success === undefined) return Result.succeed(undefined)
    const { username } = own.success
    if (token !== undefined) return Result.succeed(withToken(username, token.token))
    const code = this.#options.staticChallenge === undefined ? undefined : own.success.code
    return Result.map(this.#withCode(own.success), (password) => ({
      kind: "own",
      credentials: { username, password },
      code,
    }))
  }

  #withCode({ password, code }: UserCredentials): Result.Result<Secret, string> {
    const form = this.#options.staticChallenge
    if (form === undefined) return Result.succeed(password)
    if (code === undefined) return Result.fail("static-challenge wants a one-time code, and there is none")
    const [plain, response] = [Redacted.value(password), Redacted.value(code)]
    if (form === "concat") return Result.succeed(Redacted.make(plain + response))
    return Result.succeed(Redacted.make(`SCRV1:${base64(plain)}:${base64(response)}`))
  }
}

interface Ready {
  readonly kind: "token" | "answer" | "own"
  readonly credentials: SentCredentials
  /** Sent along with the password. */
  readonly code?: Secret | undefined
}

const withToken = (username: string, password: Secret): Ready => ({
  kind: "token",
  credentials: { username, password },
})

/** Standard alphabet, of the UTF-8 bytes. */
export const base64 = (text: string): string => btoa(String.fromCharCode(...new TextEncoder().encode(text)))
