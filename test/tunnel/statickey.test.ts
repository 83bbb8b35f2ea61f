/** A connection with a static key in virtual time: what is up, when, and what is said of it; and a key that is worn out. */
import { expect } from "bun:test"
import { Effect, Result } from "effect"
import { type Profile, parse } from "../../src/config/index.ts"
import { it } from "../support/effect.ts"
import { MemoryPlane } from "../support/plane.ts"
import { attempt, elapse, reasonOf, server } from "./attempt.ts"

const staticKey = `-----BEGIN OpenVPN Static key V1-----\n${"0123456789abcdef".repeat(32)}\n-----END OpenVPN Static key V1-----`

const staticProfile = (directives = ""): Profile =>
  Result.getOrThrowWith(
    parse(
      `dev tun\nremote 192.0.2.1\nifconfig 10.8.0.2 10.8.0.1\nroute 10.9.0.0 255.255.0.0\ncipher AES-256-CBC\n${directives}\n<secret>\n${staticKey}\n</secret>\n`,
      { file: "test.ovpn", read: () => Result.fail("no file") },
    ),
    (diagnostics) => new Error(diagnostics.map(({ message }) => message).join("\n")),
  ).profile

/** The worker's word that a packet of the peer was authentic. */
const heard = (plane: MemoryPlane) => {
  plane.counters.lastReceive = 1
  plane.emit({ type: "keyUsed", generation: plane.opened.length, keyId: 0 })
}

it.effect("a peer that was not heard yet: the key is there, the peer is asked, nothing of the host is touched", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => undefined)
    const { status, applied } = yield* attempt(plane, staticProfile())
    yield* elapse("16 seconds")
    expect(plane.commands).toEqual(["installKey 0", "useKey 0", "occ", "occ", "occ", "occ", "occ"])
    expect([(yield* status).phase, applied]).toEqual(["connecting", []])
  }),
)

it.effect("the first authentic packet is what makes it connected: addresses and routes, and no word of TLS", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => undefined)
    const { status, applied } = yield* attempt(plane, staticProfile())
    yield* elapse("1 millis")
    heard(plane)
    yield* elapse("1 millis")
    expect(yield* status).toMatchObject({ phase: "connected", cipher: "AES-256-CBC", tls: "static key", connects: 1 })
    expect(applied).toContain("route replace 10.9.0.0/16 dev tun0 proto 149")
    const { timeline } = yield* status
    expect(timeline.map(({ event }) => event)).toEqual(["connecting", "static_key", "connected"])
    expect(timeline[1]!.message).toContain("no forward secrecy")
    yield* elapse("1 hour")
    expect(plane.commands.filter((command) => command === "occ")).toHaveLength(1)
  }),
)

it.effect("a peer that never answers is given up after connect-timeout, in favour of the next one", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => undefined)
    const { fiber } = yield* attempt(plane, staticProfile("connect-timeout 30"))
    yield* elapse("29 seconds")
    expect(fiber.pollUnsafe()).toBeUndefined()
    yield* elapse("1 second")
    expect(yield* reasonOf(fiber)).toMatchObject({ tag: "NoAnswer", retry: "advance" })
  }),
)

it.effect("a peer that falls silent is pinged, and dead after ping-restart", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => undefined)
    const { fiber } = yield* attempt(plane, staticProfile("keepalive 10 60"))
    yield* elapse("1 millis")
    heard(plane)
    yield* elapse("59 seconds")
    expect(plane.commands.filter((command) => command === "ping")).toHaveLength(5)
    expect(fiber.pollUnsafe()).toBeUndefined()
    yield* elapse("2 seconds")
    expect(yield* reasonOf(fiber)).toMatchObject({ tag: "PingRestart", retry: "same" })
  }),
)

it.effect("a question for our options is answered, also long after", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => undefined)
    yield* attempt(plane, staticProfile())
    yield* elapse("1 millis")
    heard(plane)
    yield* elapse("1 hour")
    const message = Uint8Array.fromHex("287f346bd4ef7a812d56b8d3afc5459c00")
    const asked = plane.commands.length
    plane.emit({ type: "occ", generation: 1, message })
    yield* elapse("1 millis")
    expect(plane.commands.slice(asked)).toEqual(["occ"])
  }),
)

it.effect("a key that the data plane calls worn out is renegotiated, whatever the clock says", () =>
  Effect.gen(function* () {
    const plane = new MemoryPlane(() => server())
    const { status } = yield* attempt(plane)
    yield* elapse("1 millis")
    expect(yield* status).toMatchObject({ phase: "connected", renegotiations: 0, keyId: 0 })
    plane.emit({ type: "keyExhausted", generation: 1, keyId: 0 })
    yield* elapse("1 millis")
    expect(yield* status).toMatchObject({ renegotiations: 1, keyId: 1 })
  }),
)
