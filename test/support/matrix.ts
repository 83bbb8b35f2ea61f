/** Everything that changes the bytes on the wire, and which combinations of it are tried. */
import { SeededRandom } from "./network.ts"
import type { Wrapping } from "./openvpn.ts"
import { type Cell, everyCell, pairwise } from "./pairwise.ts"

export const wrappings: Readonly<Record<string, Wrapping>> = {
  plain: { type: "plain" },
  "tls-auth": { type: "tls-auth" },
  "tls-auth 0": { type: "tls-auth", direction: 1 },
  "tls-auth 1": { type: "tls-auth", direction: 0 },
  "tls-crypt": { type: "tls-crypt" },
  "tls-crypt-v2": { type: "tls-crypt-v2", cookie: "allow-noncookie" },
  "tls-crypt-v2 cookie": { type: "tls-crypt-v2", cookie: "force-cookie" },
}

export const axes = {
  transport: ["udp", "tcp"],
  wrapping: Object.keys(wrappings),
  cipher: [
    ...(["AES-256-GCM", "AES-192-GCM", "AES-128-GCM", "CHACHA20-POLY1305"] as const),
    ...(["AES-256-CBC", "AES-192-CBC", "AES-128-CBC"] as const),
  ],
  auth: ["SHA1", "SHA256", "SHA384", "SHA512"],
  keys: ["EKM", "PRF"],
  tlsVersion: ["1.2", "1.3"],
  certificate: ["rsa", "ec", "ed25519"],
} as const

export type MatrixCell = Cell<typeof axes>

/** `choice`: undefined is pairwise; "full" the whole product; a number so many of the product, drawn with `seed`. */
export const matrixCells = (choice: string | undefined, seed = 1): ReadonlyArray<MatrixCell> => {
  if (choice === undefined) return pairwise(axes)
  const every = everyCell(axes)
  return choice === "full" ? every : drawn(every, Number(choice), new SeededRandom(seed))
}

const drawn = <A>(list: ReadonlyArray<A>, count: number, random: SeededRandom): ReadonlyArray<A> => {
  const left = [...list]
  return Array.from({ length: Math.min(count, list.length) }, () => left.splice(random.below(left.length), 1)[0]!)
}
