/**
 * Data packets of the epoch format, in place (`protocol/epoch.ts` has the keys).
 *
 *     opcode/key id 1 | peer id 3 | epoch 2 | counter 6 | ciphertext | tag 16        associated data: the first 12 bytes
 *
 * Nonce: (epoch || counter || 0 4) XOR IV. A sender moves to the next epoch before its cipher has protected too much; the
 * first authentic packet of a later epoch moves the receiver on, and its own sending at least as far.
 */
import type { Region } from "../linux/index.ts"
import { type EpochKey, epochKey, futureEpochs, lastEpoch, nextEpochSecret, worryingEpoch } from "../protocol/epoch.ts"
import type { Crypto } from "../protocol/ports.ts"
import { type AeadContext, DATA_V2, FORGERY_LIMIT, MOST_FORGERIES, usageOf } from "./datapacket.ts"
import { Drop } from "./drop.ts"
import type { PacketOpener, PacketSealer } from "./format.ts"
import type { ReplayWindow } from "./replay.ts"

/** How the keys of an epoch are made, and what they stand. */
export interface EpochFactory {
  readonly crypto: Pick<Crypto, "hmac">
  readonly keyLength: number
  readonly aead: (key: Uint8Array) => AeadContext
  /** Packets and 16-byte blocks together. */
  readonly usageLimit: number
}

const OVERHEAD = 12
const TAG = 16
const TWO_32 = 2 ** 32
const LAST_COUNTER = 2 ** 48 - 1

export class EpochSealer implements PacketSealer {
  readonly overhead = OVERHEAD
  epoch = 1
  /** Of the next packet. */
  counter = 1
  private readonly factory: EpochFactory
  private readonly nonce: Region
  private readonly head: number
  private secret: Uint8Array
  private key: Material
  private usage = 0

  /** `nonce` is 12 bytes that belong to this object until `free`; `secret` is that of epoch 1. */
  constructor(factory: EpochFactory, nonce: Region, secret: Uint8Array, keyId: number, peerId: number) {
    this.factory = factory
    this.nonce = nonce
    this.secret = secret.slice()
    this.key = new Material(factory, this.secret)
    this.head = ((((DATA_V2 << 3) | keyId) << 24) | peerId) >>> 0
  }

  get isWornOut(): boolean {
    return this.epoch >= worryingEpoch
  }

  seal(memory: Region, start: number, length: number): number {
    if (this.counter >= LAST_COUNTER || this.usage > this.factory.usageLimit) this.reach(this.epoch + 1)
    const { counter, key } = this
    if (counter >= LAST_COUNTER || this.usage > this.factory.usageLimit) return Drop.packetIds
    this.counter = counter + 1
    this.usage += usageOf(length)
    const upper = ((this.epoch << 16) | Math.floor(counter / TWO_32)) >>> 0
    const lower = counter % TWO_32
    memory.view.setUint32(start, this.head)
    memory.view.setUint32(start + 4, upper)
    memory.view.setUint32(start + 8, lower)
    key.writeNonce(this.nonce, upper, lower)
    const payload = memory.at(start + OVERHEAD, length + TAG)
    const aad = memory.at(start, OVERHEAD)
    if (key.aead.seal(this.nonce.address, aad, OVERHEAD, payload, length, payload, payload + length) !== length)
      return Drop.authentication
    return OVERHEAD + length + TAG
  }

  /** Moves on to `epoch` unless it is there already. */
  reach(epoch: number): void {
    if (epoch <= this.epoch || epoch > lastEpoch) return
    for (; this.epoch < epoch; this.epoch++) this.secret = replaced(this.factory, this.secret)
    this.key.aead.free()
    this.key = new Material(this.factory, this.secret)
    this.counter = 1
    this.usage = 0
  }

  free(): void {
    this.key.aead.free()
    this.secret.fill(0)
    this.nonce.bytes.fill(0)
  }
}

interface ReceiveKey {
  readonly epoch: number
  readonly material: Material
  readonly replay: ReplayWindow
}

export class EpochOpener implements PacketOpener {
  payloadAt = 0
  packetId = 0
  replay: ReplayWindow
  private readonly factory: EpochFactory
  private readonly nonce: Region
  private readonly newReplay: () => ReplayWindow
  private readonly sealer: Pick<EpochSealer, "reach">
  /** The secret of the last of `keys`. */
  private secret: Uint8Array
  /** In the order of their epochs: the one before `current` if there was one, `current`, and the ones to come. */
  private keys: Array<ReceiveKey> = []
  private current = 1
  usage = 0
  forgeries = 0

  constructor(
    factory: EpochFactory,
    nonce: Region,
    secret: Uint8Array,
    newReplay: () => ReplayWindow,
    sealer: Pick<EpochSealer, "reach">,
  ) {
    this.factory = factory
    this.nonce = nonce
    this.newReplay = newReplay
    this.sealer = sealer
    this.secret = secret.slice()
    this.keys.push({ epoch: 1, material: new Material(factory, this.secret), replay: newReplay() })
    this.replay = this.keys[0]!.replay
    this.prepare()
  }

  get isWornOut(): boolean {
    return this.current >= worryingEpoch
  }

  open(memory: Region, start: number, length: number): number {
    if (memory.bytes[start]! >> 3 !== DATA_V2) return Drop.malformed
    const payloadLength = length - OVERHEAD - TAG
    if (payloadLength < 1) return Drop.short
    const upper = memory.view.getUint32(start + 4)
    const lower = memory.view.getUint32(start + 8)
    const epoch = upper >>> 16
    const key = this.keys[epoch - this.keys[0]!.epoch]
    if (key === undefined) return Drop.noKey
    if (this.forgeries > MOST_FORGERIES) return Drop.authentication
    key.material.writeNonce(this.nonce, upper, lower)
    const payload = memory.at(start + OVERHEAD, payloadLength + TAG)
    const aad = memory.at(start, OVERHEAD)
    const { aead } = key.material
    const opened = aead.open(
      this.nonce.address,
      aad,
      OVERHEAD,
      payload,
      payloadLength,
      payload,
      payload + payloadLength,
    )
    if (opened !== payloadLength) {
      this.forgeries++
      this.relieve()
      return Drop.authentication
    }
    if (epoch > this.current) this.shift(epoch)
    this.usage += usageOf(payloadLength)
    this.relieve()
    this.packetId = (upper & 0xffff) * TWO_32 + lower
    this.replay = key.replay
    this.payloadAt = start + OVERHEAD
    return payloadLength
  }

  free(): void {
    for (const { material } of this.keys) material.aead.free()
    this.keys = this.keys.slice(0, 0)
    this.secret.fill(0)
    this.nonce.bytes.fill(0)
  }

  /** `epoch` is the present one now; only the one before it is kept of the past. */
  private shift(epoch: number): void {
    for (const past of this.keys.splice(0, epoch - 1 - this.keys[0]!.epoch)) past.material.aead.free()
    this.current = epoch
    this.usage = 0
    this.forgeries = 0
    this.prepare()
    this.sealer.reach(epoch)
  }

  private prepare(): void {
    for (let last = this.keys.at(-1)!.epoch; last < this.current + futureEpochs; last++) {
      if (last >= lastEpoch - futureEpochs - 1) return
      this.secret = replaced(this.factory, this.secret)
      const material = new Material(this.factory, this.secret)
      this.keys.push({ epoch: last + 1, material, replay: this.newReplay() })
    }
  }

  /** A worn-out receiving key is the other side's to change: a later epoch from us makes it follow. */
  private relieve(): void {
    if (this.usage > this.factory.usageLimit || this.forgeries > FORGERY_LIMIT) this.sealer.reach(this.current + 1)
  }
}

/** The key of one epoch, ready for use. */
class Material {
  readonly aead: AeadContext
  private readonly iv0: number
  private readonly iv1: number
  private readonly iv2: number

  constructor(factory: EpochFactory, secret: Uint8Array) {
    const { key, implicitIv }: EpochKey = epochKey(factory.crypto, secret, factory.keyLength)
    this.aead = factory.aead(key)
    key.fill(0)
    const words = new DataView(implicitIv.buffer, implicitIv.byteOffset)
    this.iv0 = words.getUint32(0)
    this.iv1 = words.getUint32(4)
    this.iv2 = words.getUint32(8)
  }

  writeNonce(nonce: Region, upper: number, lower: number): void {
    nonce.view.setUint32(0, upper ^ this.iv0)
    nonce.view.setUint32(4, lower ^ this.iv1)
    nonce.view.setUint32(8, this.iv2)
  }
}

/** The next secret; the old one is wiped. */
function replaced(factory: EpochFactory, secret: Uint8Array): Uint8Array {
  const next = nextEpochSecret(factory.crypto, secret)
  secret.fill(0)
  return next
}
