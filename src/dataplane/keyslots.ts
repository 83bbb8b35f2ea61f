/** The data keys by key id. The memory of the nonces is allocated once; installing and retiring keys reuses it. */
import type { Arena, Region } from "../linux/index.ts"
import type { DataKey } from "../protocol/output.ts"
import type { ReplayWindowSize } from "./commands.ts"
import { Framing, LARGEST_PLAIN } from "./framing.ts"
import { formatOf, type PacketFormat } from "./keyformat.ts"
import { ReplayWindow } from "./replay.ts"

/** One installed key, for both directions. */
export interface KeySlot extends PacketFormat {
  readonly keyId: number
  readonly framing: Framing | undefined
  /** Bytes in front of a packet from the tun. */
  readonly overhead: number
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
  private readonly plain: Region

  /** `plain` is where packets are decompressed to; it may be that of other key slots as well. */
  constructor(arena: Arena, plain = arena.allocate(LARGEST_PLAIN)) {
    this.plain = plain
    this.nonces = Array.from({ length: KEY_IDS }, () => ({ seal: arena.allocate(12), open: arena.allocate(12) }))
  }

  /** The key that `keyId` (0 to 7) names, if it is installed. */
  find(keyId: number): KeySlot | undefined {
    return this.slots[keyId]
  }

  /** A key that was installed under the same id is retired. Throws when the key does not suit its cipher: a defect. */
  install(key: DataKey, window: ReplayWindowSize): void {
    const { keyId, compression } = key
    this.retire(keyId)
    const format = formatOf(key, this.nonces[keyId]!, () => new ReplayWindow(window))
    const framing = compression && new Framing(compression, this.plain)
    this.slots[keyId] = {
      ...format,
      keyId,
      framing,
      overhead: format.sealer.overhead + (framing?.overhead ?? 0),
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
