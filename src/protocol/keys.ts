/**
 * From key exchange to data keys. Either derivation yields a 256-byte block:
 *
 *     [0:64] client→server cipher  [64:128] client→server HMAC / implicit IV  [128:192], [192:256] the same server→client
 *
 * and every part is truncated from the left to what the cipher needs.
 */

import { digestLength } from "../config/ciphers.ts"
import { concat, isZero } from "./bytes.ts"
import { cipherKeyLength, epochSecretLength, implicitIvLength } from "./datachannel.ts"
import type { KeySource } from "./keymethod2.ts"
import type { DataKey, DirectionKey } from "./output.ts"
import type { Crypto } from "./ports.ts"

/** RFC 5705 exporter label of the data keys, used without context. */
export const exporterLabel = "EXPORTER-OpenVPN-datakeys"

export const keyBlockLength = 256

export interface PrfInput {
  /** With pre-master. */
  readonly client: KeySource
  readonly server: KeySource
  readonly clientSessionId: Uint8Array
  readonly serverSessionId: Uint8Array
}

/** The key block of OpenVPN's own derivation with the TLS 1.0 PRF. */
export const prfKeyBlock = (crypto: Crypto, input: PrfInput): Uint8Array => {
  const { client, server, clientSessionId, serverSessionId } = input
  if (client.preMaster === undefined) throw new Error("deriving keys: the client's pre-master secret is missing")
  const master = tls1Prf(crypto, client.preMaster, "OpenVPN master secret", [client.random1, server.random1], 48)
  const seed = [client.random2, server.random2, clientSessionId, serverSessionId]
  return tls1Prf(crypto, master, "OpenVPN key expansion", seed, keyBlockLength)
}

/** RFC 2246 §5: P_MD5 of the secret's first half XOR P_SHA1 of its second; the halves share a byte when it is odd. */
export const tls1Prf = (
  crypto: Crypto,
  secret: Uint8Array,
  label: string,
  seed: ReadonlyArray<Uint8Array>,
  length: number,
): Uint8Array => {
  const half = Math.ceil(secret.length / 2)
  const labelled = concat(new TextEncoder().encode(label), ...seed)
  const md5 = expand(crypto, "MD5", secret.subarray(0, half), labelled, length)
  const sha1 = expand(crypto, "SHA1", secret.subarray(secret.length - half), labelled, length)
  return md5.map((byte, index) => byte ^ sha1[index]!)
}

/** Everything about a data key but the key itself. */
export type DataKeyFacts = Omit<DataKey, "send" | "receive">

/** The client's view of a key block. Undefined: a cipher key of nothing but zeros, which must not be used. */
export const sliceKeyBlock = (block: Uint8Array, facts: DataKeyFacts): DataKey | undefined => {
  const send = directionKey(block, 0, facts)
  const receive = directionKey(block, 128, facts)
  if (isZero(send.cipherKey) || isZero(receive.cipherKey)) return undefined
  const { keyId, cipher, peerId, digest, epoch = false, compression } = facts
  return { keyId, cipher, peerId, digest, epoch, compression, send, receive }
}

const directionKey = (block: Uint8Array, offset: number, { cipher, digest, epoch }: DataKeyFacts): DirectionKey => {
  const part = (at: number, length: number) => block.slice(offset + at, offset + at + length)
  return {
    cipherKey: part(0, epoch === true ? epochSecretLength : cipherKeyLength[cipher]),
    implicitIv: part(64, epoch === true || digest !== undefined ? 0 : implicitIvLength),
    hmacKey: digest === undefined ? undefined : part(64, digestLength[digest]),
  }
}

/** P_hash of RFC 2246 §5. */
const expand = (
  crypto: Crypto,
  digest: "MD5" | "SHA1",
  secret: Uint8Array,
  seed: Uint8Array,
  length: number,
): Uint8Array => {
  const result = new Uint8Array(length)
  let a = seed
  for (let offset = 0; offset < length; ) {
    a = crypto.hmac(digest, secret, a)
    const block = crypto.hmac(digest, secret, a, seed).subarray(0, length - offset)
    result.set(block, offset)
    offset += block.length
  }
  return result
}
