/** Single packets as a tunnel delivers them to a tun, for tests of what may be put together and what may not. */
import type { SeededRandom } from "../support/network.ts"
import { anyOptions, largePacket, type PacketOptions, packet } from "./traffic.ts"

/** Some flows whose packets are interleaved, now and then damaged, lost, doubled or in the wrong place. */
export function mixture(random: SeededRandom): ReadonlyArray<Uint8Array> {
  const flows = Array.from({ length: 1 + random.below(12) }, (_, port) => {
    const options = { ...anyOptions(random), port, flags: random.below(4) === 0 ? 0x18 : 0x10 }
    const { ipOptions, extensions, ...plain } = options
    const isUnusual = random.below(5) === 0
    const segmentSize = 1 + random.below(1400)
    const payload = random.bytes(random.below(Math.min(20_000, segmentSize * 30)))
    return [...largePacket({ ...(isUnusual ? options : { ...plain, ttl: 64 }), payload, segmentSize }).packets]
  }).map((packets) => packets.flatMap((bytes) => altered(random, bytes)))
  const mixed: Array<Uint8Array> = []
  let size = 0
  while (flows.some((flow) => flow.length > 0)) {
    const flow = flows[random.below(flows.length)]!
    for (const bytes of flow.splice(0, 1 + random.below(20))) {
      size += bytes.length + 24
      if (size < 290_000) mixed.push(bytes)
    }
  }
  return mixed
}

function altered(random: SeededRandom, bytes: Uint8Array): ReadonlyArray<Uint8Array> {
  const damaged = bytes.slice()
  switch (random.below(60)) {
    case 0:
      return []
    case 1:
      return [bytes, bytes]
    case 2: {
      // Not in the version, the length of the header or the ports: whose packet it is must stay clear.
      const first = (bytes[0]! >> 4 === 4 ? (bytes[0]! & 15) * 4 : 40) + 4
      damaged[first + random.below(bytes.length - first)]! ^= 1 << random.below(8)
      return [damaged]
    }
    default:
      return [bytes]
  }
}

/** Each would continue the one before it in its flow, but that now and then one field is another. */
export function nearlyContinuous(random: SeededRandom): ReadonlyArray<Uint8Array> {
  const one = <A>(values: ReadonlyArray<A>): A => values[random.below(values.length)]!
  const flows = Array.from({ length: 1 + random.below(3) }, (_, port) => ({
    version: one([4, 6] as const),
    protocol: one([6, 6, 17] as const),
    ...{ port, tos: one([0, 2]), ttl: 64, window: 500 },
    tcpOptions: one([new Uint8Array(0), Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2)]),
    // About to begin again at zero.
    sequence: one([1, 0xffff_fff0, 0x7fff_fff0]),
    identification: one([1, 0xfffe]),
    size: one([1, 2, 7, 536, 1348]),
  }))
  return Array.from({ length: 80 }, () => {
    const flow = one(flows)
    const { size, sequence, identification } = flow
    const payload = random.bytes(one([size, size, size, size, size, random.below(size), size + 1, 0]))
    flow.sequence = (sequence + payload.length) >>> 0
    flow.identification = (identification + 1) & 0xffff
    const other: Partial<PacketOptions> = random.below(4) === 0 ? one(otherFields(random, flow)) : {}
    return packet({ ...flow, flags: 0x10, dontFragment: true, payload, ...other })
  })
}

function otherFields(
  random: SeededRandom,
  {
    sequence,
    identification,
    tcpOptions,
    tos,
  }: { sequence: number; identification: number; tcpOptions: Uint8Array; tos: number },
): ReadonlyArray<Partial<PacketOptions>> {
  return [
    ...[0x00, 0x18, 0x11, 0x19, 0x12, 0x14, 0x30, 0x50, 0x90].map((flags) => ({ flags })),
    ...[-1, 1, 2, 0x8000_0000].map((more) => ({ sequence: (sequence + more) >>> 0 })),
    ...[-1, 1, 0x8000].map((more) => ({ identification: (identification + more) & 0xffff })),
    ...[{ window: 501 }, { acknowledgement: 3 }, { reserved: 1 + random.below(15) }],
    ...[{ tos: tos | 1 }, { tos: tos ^ 0xb8 }, { ttl: 63 }, { dontFragment: false }],
    ...[{ tcpOptions: random.bytes(tcpOptions.length) }, { tcpOptions: Uint8Array.of(1, 1, 1, 0) }],
    ...[{ ipOptions: Uint8Array.of(1, 1, 1, 0) }, { extensions: Uint8Array.of(0, 0, 1, 4, 0, 0, 0, 0) }],
  ]
}
