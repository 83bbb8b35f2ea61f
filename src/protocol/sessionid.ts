/** Session ids: 8 random bytes, never all zero. One per side, the same for all key states of a session. */
import { isZero } from "./bytes.ts"
import type { Random } from "./ports.ts"

export const sessionIdLength = 8

export const newSessionId = (random: Random): Uint8Array => {
  for (;;) {
    const id = random.bytes(sessionIdLength)
    if (!isZero(id)) return id
  }
}
