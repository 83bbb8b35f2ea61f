/** The data keys by key id. The memory of the nonces is allocated once; installing and retiring keys reuses it. */
import type { Arena, Region } from "../linux/index.ts"
import { Aead, type AeadCipher } from "../openssl/aead.ts"
import type { DataKey } from "../protocol/output.ts"
import type { ReplayWindowSize } from "./commands.ts"
import { Opener, Sealer } from "./datapacket.ts"
import { ReplayWindow } from "./replay.ts"

/** One installed key, for both directions. */
export interface KeySlot {
  readonly keyId: number
  readonly sealer: Sealer
  readonly opener: Opener
  readonly replay: ReplayWindow
  /** Whether `keyUsed` was reported. */
  used: boolean
  /** Whether `keyExhausted` was reported. */
  exhausted: boolean
}

export class KeySlots {
  /** What outgoing packets are sealed with. */
  sending: KeySlot | undefined = undefined
  private readonly slots: Array<KeySlot | undefined> = new Array(KEY_IDS).fill(undefined)
  private readonly nonces: ReadonlyArray<{ readonly seal: Region; readonly open: Region }>

  constructor(arena: Arena) {
    this.nonces = Array.from({ length: KEY_IDS }, () => ({ seal: arena.allocate(12), open: arena.allocate(12) }))
  }

  /** The key that `keyId` (0 to 7) names, if it is installed. */
  find(keyId: number): KeySlot | undefined {
    return this.slots[keyId]
  }

  /** A key that was installed under the same id is retired. Throws when the key does not suit its cipher: a defect. */
  install(key: DataKey, window: ReplayWindowSize): void {
    const { keyId, cipher, peerId } = key
    this.retire(keyId)
    const nonce = this.nonces[keyId]!
    this.slots[keyId] = {
      keyId,
      sealer: new Sealer(Aead.create(aead(cipher), key.send.cipherKey, "seal"), nonce.seal, key.send, keyId, peerId),
      opener: new Opener(Aead.create(aead(cipher), key.receive.cipherKey, "open"), nonce.open, key.receive),
      replay: new ReplayWindow(window),
      used: false,
      exhausted: false,
    }
  }

  /** Seals with this key from now on; an id that names none leaves nothing to seal with. */
  use(keyId: number): void {
    this.sending = this.slots[keyId]
  }

  retire(keyId: number): void {
    const slot = this.slots[keyId]
    if (slot === undefined) return
    this.slots[keyId] = undefined
    if (this.sending === slot) this.sending = undefined
    slot.sealer.free()
    slot.opener.free()
  }

  clear(): void {
    for (let keyId = 0; keyId < KEY_IDS; keyId++) this.retire(keyId)
  }
}

const KEY_IDS = 8

/** Other ciphers are not offered to the server. */
function aead(cipher: DataKey["cipher"]): AeadCipher {
  if (cipher === "AES-256-GCM" || cipher === "AES-128-GCM" || cipher === "CHACHA20-POLY1305") return cipher
  throw new Error(`installing a data key: ${cipher} is not supported`)
}
