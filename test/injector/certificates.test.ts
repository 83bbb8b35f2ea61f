import { expect } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect } from "node:tls"
import { Effect, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { fromFiles } from "../../src/injector/certificates.ts"
import { serveTls } from "../../src/injector/server.ts"
import { issue, makeAuthority } from "../../src/injector/x509.ts"
import { eventually } from "../support/child.ts"
import { it } from "../support/effect.ts"

const now = Date.now()
const day = { from: now - 60_000, to: now + 86_400_000 }
const authority = makeAuthority("test", day)
const leaf = (name: string) => issue(authority, [name], day)

const files = Effect.gen(function* () {
  const directory = mkdtempSync(join(tmpdir(), "culvert-tls-"))
  yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true })))
  const places = { certificate: join(directory, "tls.crt"), key: join(directory, "tls.key") }
  const write = (pair: { readonly certificate: string; readonly key: string }) => {
    writeFileSync(places.certificate, pair.certificate)
    writeFileSync(places.key, pair.key)
  }
  return { places, write }
})

it.effect("a renewed certificate is taken from its files; half of a renewal is not", () =>
  Effect.gen(function* () {
    const { places, write } = yield* files
    const [one, two] = [leaf("one"), leaf("two")]
    write(one)
    const source = yield* fromFiles(places, "10 seconds")
    yield* Effect.forkScoped(source.watch, { startImmediately: true })
    write({ certificate: two.certificate, key: one.key })
    yield* TestClock.adjust("11 seconds")
    expect(yield* SubscriptionRef.get(source.current)).toEqual(one)
    rmSync(places.certificate)
    yield* TestClock.adjust("11 seconds")
    write(two)
    yield* TestClock.adjust("11 seconds")
    expect(yield* SubscriptionRef.get(source.current)).toEqual(two)
  }),
)

it.effect("files that are no pair are a clear error at the start, without their content", () =>
  Effect.gen(function* () {
    const { places, write } = yield* files
    write({ certificate: leaf("one").certificate, key: leaf("two").key })
    const error = yield* Effect.flip(fromFiles(places, "10 seconds"))
    expect(error.message).toContain("do not belong together")
    expect(error.message).not.toContain("BEGIN")
  }),
)

it.live("the server shows a new certificate on the same port and answers what it had accepted", () =>
  Effect.gen(function* () {
    const current = yield* SubscriptionRef.make(leaf("one.test"))
    const entered = Promise.withResolvers<void>()
    const slow = Promise.withResolvers<void>()
    const server = yield* serveTls({ hostname: "127.0.0.1", port: 0 }, current, async (request) => {
      if (new URL(request.url).pathname === "/slow") {
        entered.resolve()
        await slow.promise
      }
      return new Response("answered")
    })
    yield* Effect.forkScoped(server.run)
    const shown = () => peerName(server.port)
    expect(yield* Effect.promise(shown)).toBe("one.test")
    const waiting = fetch(`https://127.0.0.1:${server.port}/slow`, {
      tls: { ca: authority.certificate, checkServerIdentity: () => undefined },
    })
    yield* Effect.promise(() => entered.promise)
    yield* SubscriptionRef.set(current, leaf("two.test"))
    yield* Effect.promise(() => eventually(5000, "the new certificate", async () => (await shown()) === "two.test"))
    slow.resolve()
    expect(yield* Effect.promise(async () => (await waiting).text())).toBe("answered")
  }),
)

/** Common name of the certificate that a new connection sees. */
const peerName = (port: number) =>
  new Promise<string>((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN))
      socket.end()
    })
    socket.on("error", reject)
  })
