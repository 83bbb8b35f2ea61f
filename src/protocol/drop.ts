/** Why a packet had no effect. Each reason is a counter of the session; none of them is an error of ours. */
export type DropReason =
  /** too few bytes for its kind */
  | "short"
  /** more bytes than any control packet has */
  | "oversized"
  /** an opcode that does not exist */
  | "opcode"
  /** an opcode or message that has no place here: a client's reset, a data packet, a reset in mid-session */
  | "unexpected"
  /** not the sender that this session talks to */
  | "sessionId"
  /** acknowledges messages of somebody else */
  | "peerSessionId"
  /** neither a live key nor the one a soft reset may start */
  | "keyId"
  /** HMAC or tag is wrong */
  | "authentication"
  | "replay"
  /** authentic (or plain) but not well-formed */
  | "malformed"
  /** a message id beyond the receive window */
  | "window"
  /** a message that was received before; it is acknowledged again */
  | "duplicate"
