import { expect } from "bun:test"
import { mkdtempSync, readFileSync, rmSync, symlinkSync, unlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Result } from "effect"
import { TestClock } from "effect/testing"
import { type Profile, parse } from "../../src/config/index.ts"
import { reload } from "../../src/tunnel/reload.ts"
import { StatusRef } from "../../src/tunnel/status.ts"
import { it } from "../support/effect.ts"
import { Volume } from "../support/volume.ts"

const text = (remote: string, device = "tun") =>
  `client\ndev ${device}\nremote ${remote} 1194\npeer-fingerprint ${"00:".repeat(31)}00\nauth-user-pass\n`

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "reload-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true })),
)

/** Runs `reload` over a volume; collects the servers that are used. */
const started = Effect.gen(function* () {
  const root = yield* directory
  const configuration = new Volume(join(root, "config"), { "client.ovpn": text("one.example") })
  const credentials = new Volume(join(root, "credentials"), { username: "anna", password: "one" })
  const file = join(configuration.path, "client.ovpn")
  const load = Effect.suspend(() =>
    Effect.fromResult(
      Result.mapBoth(parse(readText(file), { file, read: () => Result.fail("no file") }), {
        onSuccess: ({ profile }) => ({ profile, files: [file] }),
        onFailure: ([first]) => ({ message: first?.message ?? "" }),
      }),
    ),
  )
  const used: Array<string> = []
  const use = (profile: Profile) => Effect.sync(() => void used.push(profile.remotes[0].host))
  const source = { load, credentials: ["username", "password", "otp"].map((name) => join(credentials.path, name)) }
  const status = yield* StatusRef
  yield* Effect.forkScoped(reload(source, yield* load, use), { startImmediately: true })
  const told = Effect.map(status.get, ({ timeline }) => timeline.map(({ event, message }) => `${event} ${message}`))
  return { configuration, credentials, file, used, told }
}).pipe(Effect.provide(StatusRef.layer))

const readText = (file: string) => {
  try {
    return readFileSync(file, "utf8")
  } catch {
    return ""
  }
}

it.effect("the swap of a mounted ConfigMap is seen within two seconds", () =>
  Effect.gen(function* () {
    const { configuration, used } = yield* started
    yield* TestClock.adjust("10 seconds")
    expect(used).toEqual([])
    configuration.replace({ "client.ovpn": text("two.example") })
    yield* TestClock.adjust("2 seconds")
    expect(used).toEqual(["two.example"])
    configuration.replace({ "client.ovpn": text("three.example") })
    yield* TestClock.adjust("3 seconds")
    expect(used).toEqual(["two.example", "three.example"])
  }),
)

it.effect("a changed password is a reason, too; one that was written anew and says the same is none", () =>
  Effect.gen(function* () {
    const { credentials, used } = yield* started
    credentials.replace({ username: "anna", password: "one" })
    yield* TestClock.adjust("1 minute")
    expect(used).toEqual([])
    credentials.replace({ username: "anna", password: "two" })
    yield* TestClock.adjust("2 seconds")
    expect(used).toEqual(["one.example"])
  }),
)

it.effect("what is not valid is not used, and said; the next valid one is", () =>
  Effect.gen(function* () {
    const { configuration, file, used, told } = yield* started
    configuration.replace({ "client.ovpn": text("two.example").replace("client", "klient") })
    yield* TestClock.adjust("3 seconds")
    configuration.replace({ "client.ovpn": text("two.example", "tun7") })
    yield* TestClock.adjust("3 seconds")
    unlinkSync(file)
    yield* TestClock.adjust("3 seconds")
    expect(used).toEqual([])
    const refusals = yield* told
    expect(refusals).toHaveLength(3)
    expect(refusals[0]).toMatch(/^reload_refused changed files: .* the present one stays: .*klient/)
    expect(refusals[1]).toContain("another `dev` takes a new start")
    symlinkSync("..data/client.ovpn", file)
    configuration.replace({ "client.ovpn": text("three.example") })
    yield* TestClock.adjust("3 seconds")
    expect(used).toEqual(["three.example"])
  }),
)

it.effect("of many SIGHUPs within a second the first is answered at once, and the others together", () =>
  Effect.gen(function* () {
    const { used } = yield* started
    for (let count = 0; count < 20; count++) {
      process.emit("SIGHUP")
      yield* TestClock.adjust("40 millis")
      expect(used).toHaveLength(1)
    }
    yield* TestClock.adjust("1 minute")
    expect(used).toHaveLength(2)
  }),
)
