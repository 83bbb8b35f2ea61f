/** What the data channel will be, from what the server pushed and what the file allows. */
import * as Result from "effect/Result"
import type { Compression, DataCipher, DigestName } from "../config/profile.ts"
import type { Pushed } from "../config/push.ts"
import { chooseCompression } from "./compression.ts"
import { isCbc, noPeerId } from "./datachannel.ts"
import type { DataKeyFacts } from "./keys.ts"
import type { Derivation } from "./keystate.ts"
import { ivProto, maxTunMtu, optionsField, peerInfoValue } from "./options.ts"

/** Holds for all keys of the session. */
export interface DataChannel extends Omit<DataKeyFacts, "keyId"> {
  readonly derivation: Derivation
  /** Whether the server understands EXIT on the control channel. */
  readonly exitOnControl: boolean
  /** Dynamic tls-crypt for the key states after the first. */
  readonly dynamicWrap: boolean
}

export interface Offer {
  readonly dataCiphers: ReadonlyArray<DataCipher>
  readonly dataCiphersFallback: DataCipher | undefined
  /** The HMAC of CBC ciphers. */
  readonly auth: DigestName
  /** As the file has it; a server may push another framing. */
  readonly compression: Compression | undefined
}

/** Fails with why the push cannot be honoured. `serverOptions`: the options string of the server's key exchange. */
export const negotiate = (pushed: Pushed, serverOptions: string, offer: Offer): Result.Result<DataChannel, string> => {
  const refusal = refusePush(pushed)
  if (refusal !== undefined) return Result.fail(refusal)
  const compression = chooseCompression(pushed.compression, offer.compression)
  if (Result.isFailure(compression)) return Result.fail(compression.failure)
  const chosen = chooseCipher(pushed.cipher, serverOptions, offer)
  if (Result.isFailure(chosen)) return Result.fail(chosen.failure)
  const cipher = chosen.success
  const peerId = pushed.peerId === noPeerId ? undefined : pushed.peerId
  const epoch = pushed.protocolFlags.includes("aead-epoch")
  if (epoch && (peerId === undefined || isCbc(cipher)))
    return Result.fail(`the server pushed protocol flag aead-epoch with ${isCbc(cipher) ? cipher : "no peer id"}`)
  return Result.succeed({
    cipher,
    digest: isCbc(cipher) ? offer.auth : undefined,
    epoch,
    compression: compression.success,
    peerId,
    derivation: pushed.protocolFlags.includes("tls-ekm") ? "tls-ekm" : "prf",
    exitOnControl: pushed.protocolFlags.includes("cc-exit"),
    dynamicWrap: pushed.protocolFlags.includes("dyn-tls-crypt"),
  })
}

/**
 * Without a push: the two sides compare what they said in the key exchange (`peerInfo`, the other side's), and the TLS server's
 * order of ciphers counts. A side that does not know this way has its cipher in its options string, and the keys come from the PRF.
 */
export const negotiateP2p = (
  peerInfo: string,
  serverOptions: string,
  offer: Offer,
  exportKey: (label: string, length: number) => Uint8Array | undefined,
): Result.Result<DataChannel, string> => {
  const theirs = peerInfoValue(peerInfo, "IV_CIPHERS")?.split(":") ?? []
  const common = theirs.flatMap((name) => offer.dataCiphers.filter((cipher) => cipher === name.toUpperCase()))[0]
  const bits = Number(peerInfoValue(peerInfo, "IV_PROTO") ?? 0)
  const says = (bit: number) => (bits & ivProto.negotiateP2p) !== 0 && (bits & bit) !== 0
  const derivation = says(ivProto.tlsKeyExport) ? "tls-ekm" : "prf"
  const exported = derivation === "tls-ekm" ? exportKey("EXPORTER-OpenVPN-p2p-peerid", 3) : undefined
  const peerId = exported === undefined ? fixedPeerId : (exported[0]! << 16) | (exported[1]! << 8) | exported[2]!
  const compression = chooseCompression(undefined, offer.compression)
  if (Result.isFailure(compression)) return Result.fail(compression.failure)
  const chosen = common === undefined ? chooseCipher(undefined, serverOptions, offer) : Result.succeed(common)
  return Result.map(chosen, (cipher) => ({
    cipher,
    digest: isCbc(cipher) ? offer.auth : undefined,
    epoch: false,
    compression: compression.success,
    peerId: says(ivProto.dataV2) ? peerId : undefined,
    derivation,
    exitOnControl: says(ivProto.exitNotify),
    dynamicWrap: derivation === "tls-ekm" && says(ivProto.dynamicTlsCrypt),
  }))
}

/** Without the exporter: "vpn" in ASCII. */
const fixedPeerId = 0x76706e

/** Why it cannot be honoured, whatever the cipher. */
export const refusePush = (pushed: Pushed): string | undefined => {
  if (pushed.tunMtu !== undefined && (pushed.tunMtu < minTunMtu || pushed.tunMtu > maxTunMtu))
    return `the server pushed tun-mtu ${pushed.tunMtu}, outside ${minTunMtu} to ${maxTunMtu}`
  return undefined
}

/** The pushed cipher; without one that of the server's options string; without that `data-ciphers-fallback`. */
const chooseCipher = (
  pushed: string | undefined,
  serverOptions: string,
  offer: Offer,
): Result.Result<DataCipher, string> => {
  const { dataCiphers, dataCiphersFallback } = offer
  const offered = dataCiphers.join(":")
  const find = (name: string, among: ReadonlyArray<DataCipher | undefined>): DataCipher | undefined =>
    among.find((cipher) => cipher === name.toUpperCase())
  if (pushed !== undefined) {
    const cipher = find(pushed, dataCiphers)
    if (cipher !== undefined) return Result.succeed(cipher)
    return Result.fail(`the server chose data cipher ${pushed}, but data-ciphers allows ${offered}`)
  }
  const own = optionsField(serverOptions, "cipher")
  if (own !== undefined) {
    const cipher = find(own, [...dataCiphers, dataCiphersFallback])
    if (cipher !== undefined) return Result.succeed(cipher)
    return Result.fail(`the server uses data cipher ${own.slice(0, 64)}, but data-ciphers allows ${offered}`)
  }
  if (dataCiphersFallback !== undefined) return Result.succeed(dataCiphersFallback)
  return Result.fail(`the server named no data cipher (data-ciphers allows ${offered}): set data-ciphers-fallback`)
}

const minTunMtu = 100
