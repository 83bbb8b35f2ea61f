/**
 * Traffic of real programs (`npm run record` says how it was recorded) through two data planes, in the large as the tun gives it
 * and packet by packet: what comes out is what Linux itself made of it, byte for byte, each flow in order.
 */
import { afterAll, describe, expect, test } from "bun:test"
import { join } from "node:path"
import { checksums } from "../../src/dataplane/checksum.ts"
import { Segmenter } from "../../src/dataplane/segment.ts"
import { VNET_HEADER } from "../../src/dataplane/vnet.ts"
import { Arena } from "../../src/linux/index.ts"
import { difference, orderedDifference } from "../support/recording/flows.ts"
import { type Read, readRecording } from "../support/recording/format.ts"
import { expanded } from "./traffic.ts"
import { Tunnel, ways } from "./tunnel.ts"

const recording = readRecording(process.env.RECORDING ?? join(import.meta.dir, "recorded.zst"))

test("holds what it is for", () => {
  const reads = recording.flatMap(({ reads }) => reads)
  const has = (probe: (packet: Uint8Array, gso: number) => boolean) =>
    reads.filter(({ bytes }) => probe(bytes.subarray(VNET_HEADER), bytes[1]!)).length
  const isIpv6 = (packet: Uint8Array) => packet[0]! >> 4 === 6
  const flags = (packet: Uint8Array) =>
    (packet[isIpv6(packet) ? 6 : 9] === 6 && packet[(isIpv6(packet) ? 40 : (packet[0]! & 15) * 4) + 13]!) || 0
  const held = {
    largeTcp4: has((_, gso) => gso === 1),
    largeTcp6: has((_, gso) => gso === 4),
    largeUdp: has((_, gso) => gso === 5),
    largeWithIpOptions: has((packet, gso) => gso !== 0 && packet[0]! > 0x45 && packet[0]! < 0x50),
    largeWithExtensions: has((packet, gso) => gso !== 0 && isIpv6(packet) && packet[6] === 60),
    largeWithFin: has((packet, gso) => gso !== 0 && (flags(packet) & 0x01) !== 0),
    reset: has((packet) => (flags(packet) & 0x04) !== 0),
    urgent: has((packet) => (flags(packet) & 0x20) !== 0),
    congestion: has((packet) => (flags(packet) & 0x40) !== 0),
    windowReduced: has((packet) => (flags(packet) & 0x80) !== 0),
    fragments4: has((packet) => !isIpv6(packet) && (((packet[6]! << 8) | packet[7]!) & 0x3fff) !== 0),
    fragments6: has((packet) => isIpv6(packet) && packet[6] === 44),
  }
  expect(Object.entries(held).filter(([, count]) => count === 0)).toEqual([])
})

describe("every read of the tun", () => {
  test.each<[string, (read: Read) => ReadonlyArray<Uint8Array>]>([
    ["is cut into the packets that Linux makes of it", cutting()],
    ["would be so by what the other tests take for the kernel", ({ bytes }) => expanded(bytes)],
  ])("%s", (_, cut) => {
    for (const { scenario, reads } of recording)
      for (const read of reads)
        expect([scenario, orderedDifference(cut(read), read.cut)]).toEqual([scenario, undefined])
  })
})

describe.each([...ways])("%s", (_, disabled, header) => {
  const tunnel = new Tunnel(disabled, header)
  afterAll(() => tunnel[Symbol.dispose]())

  test("what was sent arrives", async () => {
    for (const { scenario, reads } of recording) {
      const given = reads.flatMap((read) => (tunnel.gives(read) ? [read.bytes] : read.cut.map(tunnel.single)))
      const sent = reads.flatMap(({ cut }) => cut)
      expect([scenario, difference(await tunnel.carry(given), sent)]).toEqual([scenario, undefined])
    }
    expect(tunnel.drops).toEqual({})
  })

  test("what comes from a network that loses, doubles and reorders arrives", async () => {
    tunnel.writes = 0
    for (const { scenario, arrived } of recording) {
      const got = await tunnel.carry(arrived.map(tunnel.single))
      expect([scenario, difference(got, arrived)]).toEqual([scenario, undefined])
    }
    expect(tunnel.drops).toEqual({})
    const packets = recording.reduce((sum, { arrived }) => sum + arrived.length, 0)
    if (disabled.includes("tso") && disabled.includes("uso")) expect(tunnel.writes).toBe(packets)
    else expect(tunnel.writes).toBeLessThan(packets)
  })
})

function cutting(): (read: Read) => ReadonlyArray<Uint8Array> {
  const arena = new Arena(256 * 1024)
  const segmenter = new Segmenter(arena, checksums(arena))
  const region = arena.allocate(70_000)
  return ({ bytes }) => {
    segmenter.source.bytes.set(bytes)
    return Array.from({ length: segmenter.take(bytes.length) }, (_, index) =>
      region.bytes.slice(0, segmenter.lay(index, region, 0)),
    )
  }
}
