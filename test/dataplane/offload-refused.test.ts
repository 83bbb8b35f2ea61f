/** Each offload refused while packets are on the way: that one is given up, said once, and not a packet is lost or changed. */
import { toArrayBuffer } from "bun:ffi"
import { describe, expect, test } from "bun:test"
import { Drop } from "../../src/dataplane/drop.ts"
import type { MessageQueue } from "../../src/dataplane/messages.ts"
import { Gso, Vnet } from "../../src/dataplane/vnet.ts"
import { Arena, EINVAL, EIO, EMSGSIZE } from "../../src/linux/index.ts"
import { libc } from "../../src/linux/libc.ts"
import { difference } from "../support/recording/flows.ts"
import { largePacket } from "./traffic.ts"
import { Tunnel } from "./tunnel.ts"

test.each(["tso", "uso"] as const)("%s, by the far tun", async (name) => {
  using tunnel = new Tunnel([], "virtio")
  const { tun } = tunnel.far.forwarder
  const put = tun.put.bind(tun)
  let refusals = 0
  tun.put = (memory, at, length, packets, bytes) => {
    const isUdp = memory.view.getUint8(at + Vnet.gsoType) === Gso.udp
    if (packets === 1 || isUdp !== (name === "uso") || tunnel.writes === 0)
      return put(memory, at, length, packets, bytes)
    refusals++
    return Drop.offload
  }
  expect(await carried(tunnel, 4)).toBeUndefined()
  expect(refusals).toBe(1)
  expect(tunnel.far.refused).toEqual([`${name}: write to the tun: EINVAL`])
  expect([tun.tso, tun.uso]).toEqual([name !== "tso", name !== "uso"])
  expect(tunnel.drops).toEqual({})
})

describe("udp-segment", () => {
  test.each([
    ["EIO, as of a device that computes no checksums", EIO, "sendmmsg: EIO"],
    ["EMSGSIZE, as of a path with smaller packets", EMSGSIZE, /^sendmmsg: EMSGSIZE for datagrams of \d+ bytes$/],
    ["EINVAL, the same in other words", EINVAL, /^sendmmsg: EINVAL for datagrams of \d+ bytes$/],
  ] as const)("%s", async (_, reason, said) => {
    using tunnel = new Tunnel([], "virtio")
    const { outgoing: queue } = tunnel.near.transport as unknown as { readonly outgoing: MessageQueue }
    const send = queue.send.bind(queue)
    let refusals = 0
    queue.send = (fd) => {
      if (!queue.isHeadSegmented || tunnel.writes === 0) return send(fd)
      refusals++
      errnoCell.setInt32(0, reason, true)
      return -1
    }
    expect(await carried(tunnel, 4)).toBeUndefined()
    expect(refusals).toBeGreaterThan(0)
    const offs = tunnel.near.refused.map((text) => text.replace("udp-segment: ", ""))
    expect(offs).toEqual([said instanceof RegExp ? expect.stringMatching(said) : said])
    expect(tunnel.drops).toEqual({})
    // What is queued from now on is not put together again.
    const before = refusals
    expect(await carried(tunnel, 1)).toBeUndefined()
    expect(refusals).toBe(before)
  })
})

test("udp-gro, withdrawn from the socket", async () => {
  using tunnel = new Tunnel([], "virtio")
  expect(await carried(tunnel, 1)).toBeUndefined()
  const off = new Arena(16).allocate(4)
  expect(libc.setsockopt(tunnel.far.fd, SOL_UDP, UDP_GRO, off.address, 4)).toBe(0)
  expect(await carried(tunnel, 3)).toBeUndefined()
  expect(tunnel.drops).toEqual({})
})

/** TCP and UDP of both families in the large, `rounds` times; how what arrives differs from what was sent. */
async function carried(tunnel: Tunnel, rounds: number): Promise<string | undefined> {
  for (let round = 0; round < rounds; round++) {
    const reads = ([4, 6] as const).flatMap((version) =>
      ([6, 17] as const).map((protocol) =>
        largePacket({ version, protocol, port: round, payload: 20 * 1300 + 7, segmentSize: 1300 }),
      ),
    )
    const got = await tunnel.carry(reads.map(({ bytes }) => bytes))
    const what = difference(
      got,
      reads.flatMap(({ packets }) => packets),
    )
    if (what !== undefined) return `round ${round}: ${what}`
  }
  return undefined
}

/** What `errno()` reads. */
const errnoCell = new DataView(toArrayBuffer(libc.__errno_location()!, 0, 4))
const SOL_UDP = 17
const UDP_GRO = 104
