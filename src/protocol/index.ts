/**
 * The OpenVPN wire protocol of a client, pure: no clock, no randomness, no I/O. Start with `Session`; its ports are
 * `Crypto`, `Random` and `Tls`.
 */
export type { SessionContract } from "./contract.ts"
export type { ClientMessage } from "./control.ts"
export {
  cipherKeyLength,
  type DataHead,
  implicitIvLength,
  noPeerId,
  OCC_EXIT,
  OCC_MAGIC,
  OCC_REPLY,
  OCC_REQUEST,
  PING_MAGIC,
  packetIdLength,
  packetIdLimit,
  readDataHead,
  tagLength,
} from "./datachannel.ts"
export type { DropReason } from "./drop.ts"
export { Login, type LoginOptions, type UserCredentials } from "./login.ts"
export { type DataFormat, mssFor, mtuFor } from "./mtu.ts"
export { keyIdOf, Opcode, opcodeOf } from "./opcode.ts"
export type { Versions } from "./options.ts"
export type * from "./output.ts"
export { type PeerRefusal, verifyPeer } from "./peer.ts"
export type * from "./ports.ts"
export { defaultReplayWindow, ReplayWindow, type ReplayWindowSize } from "./replay.ts"
export { Session, type TimerReason } from "./session.ts"
export type { SessionOptions } from "./sessionoptions.ts"
export { type StaticKeyOptions, StaticKeySession } from "./statickeysession.ts"
