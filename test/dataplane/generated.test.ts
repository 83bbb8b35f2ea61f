/** Generated traffic through two data planes: what comes out is what the plainest way makes of it, byte for byte, each flow in order. */
import { afterAll, describe, expect, test } from "bun:test"
import { forEachSeedAsync, longForm, SeededRandom } from "../support/network.ts"
import { difference } from "../support/recording/flows.ts"
import type { Read } from "../support/recording/format.ts"
import { mixture, nearlyContinuous } from "./mixture.ts"
import { anyOptions, largePacket } from "./traffic.ts"
import { Tunnel, ways } from "./tunnel.ts"

const SEEDS = longForm(6, 1 / 100)

describe.each([...ways])("%s", (_, disabled, header) => {
  const tunnel = new Tunnel(disabled, header)
  afterAll(() => tunnel[Symbol.dispose]())

  test("what a sender hands over in the large arrives as single packets", async () => {
    await forEachSeedAsync(SEEDS, async (seed) => {
      const reads = anyReads(new SeededRandom(seed))
      const given = reads.flatMap((read) => (tunnel.gives(read) ? [read.bytes] : read.cut.map(tunnel.single)))
      expect(
        difference(
          await tunnel.carry(given),
          reads.flatMap(({ cut }) => cut),
        ),
      ).toBeUndefined()
    })
    expect(tunnel.drops).toEqual({})
  })

  test("single packets, some of them damaged, lost, doubled or overtaken, arrive as they came", async () => {
    await forEachSeedAsync(SEEDS, async (seed) => {
      const packets = mixture(new SeededRandom(seed))
      expect(difference(await tunnel.carry(packets.map(tunnel.single)), packets)).toBeUndefined()
    })
    expect(tunnel.drops).toEqual({})
  })

  test("packets that nearly continue each other, all with right checksums, arrive as they came", async () => {
    await forEachSeedAsync(SEEDS * 4, async (seed) => {
      const packets = nearlyContinuous(new SeededRandom(seed))
      expect(difference(await tunnel.carry(packets.map(tunnel.single)), packets)).toBeUndefined()
    })
    expect(tunnel.drops).toEqual({})
  })
})

test("what the tun gave in one piece is counted apart from what came alone", async () => {
  using tunnel = new Tunnel([], "virtio")
  const { bytes, packets } = largePacket({
    version: 4,
    protocol: 6,
    port: 1,
    payload: 20 * 1300 + 7,
    segmentSize: 1300,
  })
  const alone = packets.slice(0, 3)
  await tunnel.carry([bytes, ...alone.map(tunnel.single), bytes])
  expect(tunnel.near.counts.all()).toMatchObject({
    tunReadPackets: 2 * packets.length + alone.length,
    tunLonePackets: alone.length,
    tunLoneBytes: alone.reduce((sum, { length }) => sum + length, 0),
  })
})

/** Of TCP and UDP flows of any shape. */
function anyReads(random: SeededRandom): ReadonlyArray<Read> {
  return Array.from({ length: 12 }, (_, port) => {
    const options = { ...anyOptions(random), port }
    const segmentSize = 1 + random.below(1400)
    const payload = random.bytes(1 + random.below(Math.min(40_000, segmentSize * 30)))
    const { bytes, packets } = largePacket({ ...options, payload, segmentSize })
    return { bytes, cut: packets }
  })
}
