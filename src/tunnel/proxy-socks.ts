/** SOCKS 5, CONNECT and UDP ASSOCIATE: RFC 1928, with user name and password as in RFC 1929. Numbers are in network order. */
import { Effect, Redacted } from "effect"
import { formatIpv6, isIpv4, isIpv6 } from "../config/address.ts"
import type { Remote } from "../config/index.ts"
import type { Handshake, ProxyStream, ProxyUser } from "./proxy.ts"
import { TransportError } from "./socket.ts"

type User = Effect.Effect<ProxyUser, TransportError> | undefined

/** `user` undefined: the proxy is told that there is none. The server's name is the proxy's to resolve. */
export const socksConnect =
  (remote: Pick<Remote, "host" | "port">, user: User): Handshake =>
  (stream) =>
    Effect.gen(function* () {
      yield* introduce(stream, user)
      yield* stream.write(Uint8Array.of(version, connect, 0, ...(yield* encodeTarget(remote))))
      yield* readReply(stream)
      return "open" as const
    })

/** Where datagrams are relayed for as long as the stream stands. Address undefined: at the proxy's own. */
export const socksAssociate = (stream: ProxyStream, user: User) =>
  Effect.gen(function* () {
    yield* introduce(stream, user)
    // From which port ours will come is not known yet.
    yield* stream.write(Uint8Array.of(version, associate, 0, 1, 0, 0, 0, 0, 0, 0))
    return yield* readReply(stream)
  })

/** What each datagram to `remote` has in front for the relay: RFC 1928, section 7. */
export const socksHeader = (remote: Pick<Remote, "host" | "port">): Effect.Effect<Uint8Array, TransportError> =>
  Effect.map(encodeTarget(remote), (target) => Uint8Array.of(0, 0, 0, ...target))

const introduce = (stream: ProxyStream, user: User) =>
  Effect.gen(function* () {
    const methods = user === undefined ? [noAuthentication] : [noAuthentication, userPassword]
    yield* stream.write(Uint8Array.of(version, methods.length, ...methods))
    const [answered, method] = yield* stream.read(2)
    if (answered !== version) return yield* refuse("it does not speak SOCKS 5")
    if (method === userPassword && user !== undefined) yield* authenticate(stream, yield* user)
    else if (method !== noAuthentication) {
      return yield* refuse("it wants an authentication that was not offered; is a user name missing?")
    }
  })

const authenticate = Effect.fnUntraced(function* (stream: ProxyStream, user: ProxyUser) {
  const [name, password] = [user.username, Redacted.value(user.password)].map((text) => new TextEncoder().encode(text))
  if (name!.length > 255 || password!.length > 255) {
    return yield* refuse("user name and password may have 255 bytes at most")
  }
  yield* stream.write(Uint8Array.of(1, name!.length, ...name!, password!.length, ...password!))
  const [, status] = yield* stream.read(2)
  if (status !== 0) return yield* refuse("it refused the user name or the password")
})

/** Address type, address, port. */
const encodeTarget = Effect.fnUntraced(function* ({ host, port }: Pick<Remote, "host" | "port">) {
  const end = [port >> 8, port & 0xff]
  if (isIpv4(host)) return [1, ...host.split(".").map(Number), ...end]
  if (isIpv6(host)) return [4, ...ipv6Bytes(host), ...end]
  const name = new TextEncoder().encode(host)
  if (name.length > 255) return yield* refuse("the server's name has more than 255 bytes")
  return [3, name.length, ...name, ...end]
})

/** The address that the proxy names: where it connects from, or where its relay is. */
const readReply = Effect.fnUntraced(function* (stream: ProxyStream) {
  const [answered, status = 0, , type = 0] = yield* stream.read(4)
  if (answered !== version) return yield* refuse("its answer is no SOCKS 5")
  if (status !== 0) return yield* refuse(replies[status] ?? `it answered with status ${status}`)
  const length = type === 1 ? 4 : type === 4 ? 16 : type === 3 ? (yield* stream.read(1))[0]! : undefined
  if (length === undefined) return yield* refuse(`its answer has the unknown address type ${type}`)
  const bytes = yield* stream.read(length + 2)
  const port = (bytes[length]! << 8) | bytes[length + 1]!
  const address = bytes.subarray(0, length)
  if (type === 3) return { address: new TextDecoder("latin1").decode(address), port }
  if (address.every((byte) => byte === 0)) return { address: undefined, port }
  return { address: type === 1 ? address.join(".") : formatIpv6(asNumber(address)), port }
})

const asNumber = (bytes: Uint8Array): bigint => bytes.reduce((number, byte) => number * 256n + BigInt(byte), 0n)

const ipv6Bytes = (address: string): ReadonlyArray<number> => {
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::")
  const words = (part: string) =>
    part
      .split(":")
      .filter(Boolean)
      .map((word) => Number.parseInt(word, 16))
  const [before, after] = [words(head), words(tail ?? "")]
  const gap = tail === undefined ? [] : Array<number>(8 - before.length - after.length).fill(0)
  return [...before, ...gap, ...after].flatMap((word) => [word >> 8, word & 0xff])
}

const refuse = (message: string) => Effect.fail(new TransportError({ message }))

const version = 5
const connect = 1
const associate = 3
const noAuthentication = 0
const userPassword = 2

/** RFC 1928, section 6. */
const replies: Readonly<Record<number, string>> = {
  1: "it failed",
  2: "its rules do not allow the connection",
  3: "the network cannot be reached from it",
  4: "the server cannot be reached from it",
  5: "the server refused its connection",
  6: "the time to live ran out on the way from it",
  7: "it does not do what it was asked for",
  8: "it does not know the type of the server's address",
}
