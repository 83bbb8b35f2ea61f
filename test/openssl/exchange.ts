/** Two TLS connections joined in memory. */
import type { TlsConnection } from "../../src/openssl/index.ts"

/** Carries ciphertext both ways, in pieces of `size` bytes, until neither side has any left. */
export function exchange(a: TlsConnection, b: TlsConnection, size = Number.POSITIVE_INFINITY): void {
  for (let moved = true; moved; ) {
    const there = carry(a, b, size)
    const back = carry(b, a, size)
    moved = there || back
  }
}

/** One direction once; true when there was anything. */
export function carry(from: TlsConnection, to: TlsConnection, size = Number.POSITIVE_INFINITY): boolean {
  const ciphertext = from.pull()
  if (ciphertext === undefined) return false
  for (let offset = 0; offset < ciphertext.length; offset += size) {
    to.feed(ciphertext.subarray(offset, Math.min(ciphertext.length, offset + size)))
  }
  return true
}

/** All plaintext that has arrived, one element a record. */
export function received(connection: TlsConnection): Array<Uint8Array> {
  const records: Array<Uint8Array> = []
  for (let next = connection.read(); next !== undefined; next = connection.read()) records.push(next)
  return records
}
