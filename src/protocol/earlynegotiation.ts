/**
 * What a server says in the payload of its hard reset to a client with tls-crypt-v2: a sequence of
 *
 *     type u16 | length u16 | value
 *
 * Type 1 are flags (u16): RESEND_WKC asks for the wrapped client key once more in message 1, because the server kept nothing
 * of the first packet (it answers with a cookie in place of a session id).
 */
import * as Result from "effect/Result"
import { readU16 } from "./bytes.ts"

export interface EarlyNegotiation {
  readonly resendWrappedKey: boolean
}

/** Unknown types are passed over. */
export const readEarlyNegotiation = (payload: Uint8Array): Result.Result<EarlyNegotiation, "malformed"> => {
  let resendWrappedKey = false
  for (let offset = 0; offset < payload.length; ) {
    if (payload.length < offset + 4) return Result.fail("malformed")
    const [type, length] = [readU16(payload, offset), readU16(payload, offset + 2)]
    offset += 4
    if (payload.length < offset + length) return Result.fail("malformed")
    if (type === flagsType) {
      if (length !== 2) return Result.fail("malformed")
      resendWrappedKey = (readU16(payload, offset) & resendFlag) !== 0
    }
    offset += length
  }
  return Result.succeed({ resendWrappedKey })
}

const flagsType = 1
const resendFlag = 1
