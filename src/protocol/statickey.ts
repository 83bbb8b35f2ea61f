/**
 * The 256-byte static key of tls-auth and tls-crypt (`config/` has read its text form):
 *
 *     [0:64] keys[0].cipher  [64:128] keys[0].hmac  [128:192] keys[1].cipher  [192:256] keys[1].hmac
 */

/** Which of the two slots sends: 0 sends with keys[0], 1 with keys[1], undefined uses keys[0] both ways. */
export type KeyDirection = 0 | 1 | undefined

export interface KeySlot {
  /** 64 bytes; an algorithm takes as many as it needs from the left. */
  readonly cipher: Uint8Array
  /** 64 bytes, likewise. */
  readonly hmac: Uint8Array
}

/** The slots by use. `key` is 256 bytes. */
export const keySlots = (key: Uint8Array, direction: KeyDirection): { send: KeySlot; receive: KeySlot } => {
  const first = slot(key, 0)
  const second = slot(key, 128)
  if (direction === 0) return { send: first, receive: second }
  if (direction === 1) return { send: second, receive: first }
  return { send: first, receive: first }
}

const slot = (key: Uint8Array, offset: number): KeySlot => ({
  cipher: key.slice(offset, offset + 64),
  hmac: key.slice(offset + 64, offset + 128),
})
