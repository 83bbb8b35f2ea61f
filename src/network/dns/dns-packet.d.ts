/** The part of dns-packet 5.6.1 that is used here; the package has no types of its own. */
declare module "dns-packet" {
  export interface Question {
    readonly name: string
    readonly type: string
    readonly class: string
  }
  export interface Answer {
    readonly name: string
    readonly type: string
    readonly class?: string
    readonly ttl?: number
    readonly data?: unknown
    readonly udpPayloadSize?: number
    readonly flags?: number
  }
  export interface Packet {
    readonly type?: "query" | "response"
    readonly id?: number
    readonly flags?: number
    readonly questions?: ReadonlyArray<Question>
    readonly answers?: ReadonlyArray<Answer>
    readonly authorities?: ReadonlyArray<Answer>
    readonly additionals?: ReadonlyArray<Answer>
  }
  export function encode(packet: Packet): Uint8Array
  /** Throws on what is no DNS message. */
  export function decode(bytes: Buffer): Packet
}
