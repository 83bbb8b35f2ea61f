import { expect } from "bun:test"
import { Effect, Redacted, Result } from "effect"
import type { ProxyServer } from "../../src/config/index.ts"
import type { Handshake, ProxyStream } from "../../src/tunnel/proxy.ts"
import { digest, httpConnect, parseAnswer } from "../../src/tunnel/proxy-http.ts"
import { socksAssociate, socksConnect, socksHeader } from "../../src/tunnel/proxy-socks.ts"
import { TransportError } from "../../src/tunnel/socket.ts"
import { it } from "../support/effect.ts"

const user = { username: "anna", password: Redacted.make("s3cret") }
const target = { host: "vpn.example", port: 443 }

/** A proxy that says `answer` whatever it is asked; keeps what it was told and counts what was taken of the answer. */
class Scripted implements ProxyStream {
  readonly answer: Uint8Array
  written = ""
  taken = 0

  constructor(answer: string | ReadonlyArray<number>) {
    this.answer = typeof answer === "string" ? new TextEncoder().encode(answer) : Uint8Array.from(answer)
  }

  readonly write = (bytes: Uint8Array) =>
    Effect.sync(() => {
      this.written += Buffer.from(bytes).toString("latin1")
    })

  readonly read = (length: number) =>
    Effect.suspend(() => {
      if (this.taken + length > this.answer.length) {
        return Effect.fail(new TransportError({ message: "it closed the connection" }))
      }
      this.taken += length
      return Effect.succeed(this.answer.slice(this.taken - length, this.taken))
    })
}

const run = (handshake: Handshake, proxy: Scripted) => Effect.result(handshake(proxy))

const http = (
  method: NonNullable<Extract<ProxyServer, { _tag: "Http" }>["authentication"]>["method"] | undefined,
): Handshake => {
  const login = { _tag: "Given", username: "anna", password: user.password } as const
  const details = { version: "1.1", userAgent: "culvert", headers: [["X-Team", "a b"]] } as const
  const authentication = method === undefined ? undefined : { method, login }
  return httpConnect(
    { _tag: "Http", host: "proxy", port: 3128, authentication, ...details },
    target,
    Effect.succeed(user),
  )
}

it.effect("HTTP: the request has what the file says, and nothing behind the answer is taken", () =>
  Effect.gen(function* () {
    const proxy = new Scripted("HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\nthe server's bytes")
    expect(yield* run(http(undefined), proxy)).toEqual(Result.succeed("open"))
    expect(proxy.written).toBe(
      "CONNECT vpn.example:443 HTTP/1.1\r\nHost: vpn.example:443\r\nUser-Agent: culvert\r\nX-Team: a b\r\n\r\n",
    )
    expect(proxy.answer.length - proxy.taken).toBe("the server's bytes".length)
  }),
)

it.effect("HTTP: `basic` sends the login unasked; otherwise a challenge decides, Digest before Basic", () =>
  Effect.gen(function* () {
    const unasked = new Scripted("HTTP/1.1 200 OK\r\n\r\n")
    expect(yield* run(http("basic"), unasked)).toEqual(Result.succeed("open"))
    expect(unasked.written).toContain(`\r\nProxy-Authorization: Basic ${btoa("anna:s3cret")}\r\n`)

    const both = 'Proxy-Authenticate: Basic realm="x"\r\nProxy-Authenticate: Digest realm="x", nonce="n"\r\n'
    const challenge = yield* run(http("any"), new Scripted(`HTTP/1.1 407 Who\r\n${both}\r\n`))
    const again = new Scripted("HTTP/1.1 200 OK\r\n\r\n")
    expect(yield* run(Result.getOrThrow(challenge) as Handshake, again)).toEqual(Result.succeed("open"))
    expect(again.written).toContain('Proxy-Authorization: Digest username="anna", realm="x", nonce="n"')
  }),
)

it.effect("HTTP: answers that end it are said in words, and no password is among them", () =>
  Effect.gen(function* () {
    const cases = [
      ["HTTP/1.1 403 Forbidden\r\n\r\n", "it answered 403 Forbidden"],
      ["HTTP/1.1 503 \x1b[31m\r\n\r\n", "it answered 503 [31m"],
      ["SSH-2.0-OpenSSH\r\n\r\n", "its answer is no HTTP"],
      ["HTTP/1.1 200", "it closed the connection"],
      ["x".repeat(20_000), "its answer has more than 16384 bytes"],
      [
        "HTTP/1.1 407 Who\r\nProxy-Authenticate: NTLM\r\n\r\n",
        "it offers no authentication that may be used, but ntlm",
      ],
    ] as const
    for (const [answer, message] of cases) {
      const result = yield* run(http("any-but-basic"), new Scripted(answer))
      expect(Result.isFailure(result) ? result.failure.message : result).toBe(message)
    }
    const nobody = yield* run(http(undefined), new Scripted("HTTP/1.1 407 Who\r\n\r\n"))
    expect(Result.isFailure(nobody) && nobody.failure.message).toContain("http-proxy-user-pass gives them")
  }),
)

it.effect("Digest: with and without qop, and none for an algorithm that we do not know", () =>
  Effect.sync(() => {
    const challenges = (parameters: string) =>
      parseAnswer(`HTTP/1.1 407 x\r\nProxy-Authenticate: Digest realm="r", nonce="n"${parameters}\r\n\r\n`)!.challenges
    const answer = (parameters: string) => digest(challenges(parameters), user, "vpn.example:443", "c")
    // Computed with Python's hashlib from the formulas of RFC 7616, section 3.4.
    expect(answer("")).toContain('response="5df529c3f69ad781e6c846f723717c07"')
    expect(answer(', qop="auth-int,auth"')).toContain(
      'response="e6a9321e57fbad3c596dffe97b7f838b", qop=auth, nc=00000001, cnonce="c"',
    )
    expect(answer(", algorithm=SHA-256, qop=auth")).toContain(
      'response="65b58404521cba938c1ca9c5d4786572a931c2d54195f803f7a96410b7e4587d"',
    )
    expect(answer(", algorithm=MD5-sess, qop=auth")).toContain('response="d1201f91a7509548d9969e93c5300f37"')
    expect(answer(", algorithm=SHA-512-256")).toBeUndefined()
    expect(answer(', qop="auth-int"')).toBeUndefined()
  }),
)

it.effect("SOCKS: name, IPv4 and IPv6 servers are asked for as what they are", () =>
  Effect.gen(function* () {
    const open = [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 99]
    for (const [host, bytes] of [
      ["vpn.example", [3, 11, ...Buffer.from("vpn.example")]],
      ["192.0.2.1", [1, 192, 0, 2, 1]],
      ["2001:db8::1", [4, 0x20, 0x01, 0x0d, 0xb8, ...Array(11).fill(0), 1]],
      ["::1", [4, ...Array(15).fill(0), 1]],
    ] as const) {
      const proxy = new Scripted(open)
      expect(yield* run(socksConnect({ host, port: 443 }, undefined), proxy)).toEqual(Result.succeed("open"))
      const expected = [5, 1, 0, 5, 1, 0, ...bytes, 1, 187]
      expect([...Buffer.from(proxy.written, "latin1")]).toEqual(expected)
      expect(proxy.answer.length - proxy.taken).toBe(1)
    }
  }),
)

it.effect("SOCKS: refusals are said in words; an answer that ends anywhere is one", () =>
  Effect.gen(function* () {
    const cases = [
      [[4, 0], "it does not speak SOCKS 5"],
      [[5, 0xff], "it wants an authentication that was not offered; is a user name missing?"],
      [[5, 2, 1, 1], "it refused the user name or the password"],
      [[5, 0, 5, 2, 0, 1], "its rules do not allow the connection"],
      [[5, 0, 5, 99, 0, 1], "it answered with status 99"],
      [[5, 0, 5, 0, 0, 9], "its answer has the unknown address type 9"],
    ] as const
    for (const [answer, message] of cases) {
      const result = yield* run(socksConnect(target, Effect.succeed(user)), new Scripted(answer))
      expect(Result.isFailure(result) ? result.failure.message : result).toBe(message)
    }
    const whole = [5, 2, 1, 0, 5, 0, 0, 3, 2, 97, 98, 1, 187]
    for (let length = 0; length < whole.length; length++) {
      const result = yield* run(socksConnect(target, Effect.succeed(user)), new Scripted(whole.slice(0, length)))
      expect(Result.isFailure(result) && result.failure.message).toBe("it closed the connection")
    }
    expect(yield* run(socksConnect(target, Effect.succeed(user)), new Scripted(whole))).toEqual(Result.succeed("open"))
  }),
)

it.effect("SOCKS: a relay for datagrams is asked for and where it is is read; datagrams name the server", () =>
  Effect.gen(function* () {
    for (const [reply, relay] of [
      [[1, 192, 0, 2, 9, 4, 1], { address: "192.0.2.9", port: 1025 }],
      [[4, 0x20, 0x01, 0x0d, 0xb8, ...Array(11).fill(0), 1, 4, 1], { address: "2001:db8::1", port: 1025 }],
      [[1, 0, 0, 0, 0, 4, 1], { address: undefined, port: 1025 }],
      [[4, ...Array(16).fill(0), 4, 1], { address: undefined, port: 1025 }],
    ] as const) {
      const proxy = new Scripted([5, 0, 5, 0, 0, ...reply])
      expect(yield* socksAssociate(proxy, undefined)).toEqual(relay)
      expect([...Buffer.from(proxy.written, "latin1")]).toEqual([5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0])
    }
    const refused = yield* Effect.flip(socksAssociate(new Scripted([5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0]), undefined))
    expect(refused.message).toBe("it does not do what it was asked for")
    expect([...(yield* socksHeader({ host: "192.0.2.1", port: 1194 }))]).toEqual([0, 0, 0, 1, 192, 0, 2, 1, 4, 170])
    expect([...(yield* socksHeader(target))]).toEqual([0, 0, 0, 3, 11, ...Buffer.from("vpn.example"), 1, 187])
  }),
)
