/**
 * The first byte of every packet: `opcode << 3 | keyId`. Opcodes 1 and 2 (key method 1) are obsolete and unknown here.
 */

export const Opcode = {
  SoftResetV1: 3,
  ControlV1: 4,
  AckV1: 5,
  DataV1: 6,
  HardResetClientV2: 7,
  HardResetServerV2: 8,
  DataV2: 9,
  HardResetClientV3: 10,
  ControlWkcV1: 11,
} as const
export type Opcode = (typeof Opcode)[keyof typeof Opcode]

export type OpcodeKind = "reset" | "control" | "ack" | "data"

interface OpcodeRow {
  readonly name: string
  readonly kind: OpcodeKind
  /** Whether a server may send it to this client; tls-crypt-v2 (10, 11) is not announced by it. */
  readonly fromServer: boolean
}

const table: ReadonlyMap<number, OpcodeRow> = new Map([
  [Opcode.SoftResetV1, { name: "P_CONTROL_SOFT_RESET_V1", kind: "reset", fromServer: true }],
  [Opcode.ControlV1, { name: "P_CONTROL_V1", kind: "control", fromServer: true }],
  [Opcode.AckV1, { name: "P_ACK_V1", kind: "ack", fromServer: true }],
  [Opcode.DataV1, { name: "P_DATA_V1", kind: "data", fromServer: true }],
  [Opcode.HardResetClientV2, { name: "P_CONTROL_HARD_RESET_CLIENT_V2", kind: "reset", fromServer: false }],
  [Opcode.HardResetServerV2, { name: "P_CONTROL_HARD_RESET_SERVER_V2", kind: "reset", fromServer: true }],
  [Opcode.DataV2, { name: "P_DATA_V2", kind: "data", fromServer: true }],
  [Opcode.HardResetClientV3, { name: "P_CONTROL_HARD_RESET_CLIENT_V3", kind: "reset", fromServer: false }],
  [Opcode.ControlWkcV1, { name: "P_CONTROL_WKC_V1", kind: "control", fromServer: false }],
])

/** What is known about an opcode (the upper five bits of the first byte), or undefined. */
export const opcodeRow = (opcode: number): OpcodeRow | undefined => table.get(opcode)

export const opcodeOf = (firstByte: number): number => firstByte >> 3

export const keyIdOf = (firstByte: number): number => firstByte & 7

export const firstByte = (opcode: Opcode, keyId: number): number => (opcode << 3) | keyId
