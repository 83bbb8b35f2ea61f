/** The data keys by key id. The memory of the nonces is allocated once; installing and retiring keys reuses it. */
import type { Arena, Region } from "../linux/index.ts"
import { fragmentHeader } from "../protocol/mtu.ts"
import type { DataKey } from "../protocol/output.ts"
import type { ReplayWindowSize } from "./commands.ts"
import { Fragmenter, Reassembly } from "./fragment.ts"
import { Framing, LARGEST_PLAIN } from "./framing.ts"
import { formatOf, type PacketFormat } from "./keyformat.ts"
import { ReplayWindow } from "./replay.ts"

/** One installed key, for both directions. */
export interface KeySlot extends PacketFormat {
  readonly keyId: number
  readonly framing: Framing | undefined
  /** Undefined: packets have no header for it. */
  readonly fragmenter: Fragmenter | undefined
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
  /** A static key, whose packets name no key. */
  unnamed: KeySlot | undefined = undefined
  /** There as soon as a key asks for it. */
  reassembly: Reassembly | undefined = undefined
  private readonly slots: Array<KeySlot | undefined> = new Array(KEY_IDS).fill(undefined)
  private readonly nonces: ReadonlyArray<{ readonly seal: Region; readonly open: Region }>
  private readonly plain: Region
  private readonly arena: Arena

  /** `plain` is where packets are decompressed to; it may be that of other key slots as well. */
  constructor(arena: Arena, plain = arena.allocate(LARGEST_PLAIN)) {
    this.plain = plain
    this.arena = arena
    this.nonces = Array.from({ length: KEY_IDS }, () => ({ seal: arena.allocate(12), open: arena.allocate(12) }))
  }

  /** The key that `keyId` (0 to 7) names, if it is installed. */
  find(keyId: number): KeySlot | undefined {
    return this.slots[keyId]
  }

  /** A key that was installed under the same id is retired. Throws when the key does not suit its cipher: a defect. */
  install(key: DataKey, window: ReplayWindowSize): void {
    const { keyId, compression, fragmentSize } = key
    this.retire(keyId)
    const format = formatOf(key, this.nonces[keyId]!, () => new ReplayWindow(window))
    const framing = compression && new Framing(compression, this.plain)
    const fragmenter = fragmentSize === undefined ? undefined : new Fragmenter(fragmentSize)
    if (fragmenter !== undefined) this.reassembly ??= new Reassembly(this.arena)
    const slot = {
      ...format,
      keyId,
      framing,
      fragmenter,
      overhead: format.sealer.overhead + (fragmenter ? fragmentHeader : 0) + (framing?.overhead ?? 0),
      used: false,
      exhausted: false,
    }
    this.slots[keyId] = slot
    if (key.staticKey !== undefined) this.unnamed = slot
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
    if (this.unnamed === slot) this.unnamed = undefined
    slot.sealer.free()
    slot.opener.free()
  }

  clear(): void {
    for (let keyId = 0; keyId < KEY_IDS; keyId++) this.retire(keyId)
    this.reassembly?.clear()
  }
}

const KEY_IDS = 8
