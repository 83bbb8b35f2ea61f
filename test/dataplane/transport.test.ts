import { describe, expect, test } from "bun:test"
import type { Event } from "../../src/dataplane/commands.ts"
import { type CounterName, Counters, counterReader, createCounterMemory } from "../../src/dataplane/counters.ts"
import { type OffloadName, Offloads } from "../../src/dataplane/offload.ts"
import { TcpTransport } from "../../src/dataplane/transport-tcp.ts"
import { UdpTransport } from "../../src/dataplane/transport-udp.ts"
import {
  Arena,
  closeFd,
  EMSGSIZE,
  localAddress,
  openSocketPair,
  openUdpSocket,
  POLLIN,
  POLLOUT,
  type Region,
  receiveBufferOf,
  receiveBytes,
  sendBytes,
  setSendBuffer,
} from "../../src/linux/index.ts"
import { SeededRandom } from "../support/network.ts"
import { soon, udpPair } from "../support/pair.ts"

function counted() {
  const memory = createCounterMemory()
  const reader = counterReader(memory)
  return { counters: new Counters(memory), count: (name: CounterName) => reader.read(name) }
}

function udpTransport(counters: Counters, ...disabled: ReadonlyArray<OffloadName>): UdpTransport {
  return new UdpTransport(new Arena(2 * 1024 * 1024), counters, new Offloads(disabled, () => {}), () => {})
}

const scratch = new Arena(256 * 1024).allocate(128 * 1024)

/** Queues a packet of `length` bytes whose every byte is `fill`; false when there is no room. */
function queue(transport: TcpTransport | UdpTransport, length: number, fill: number): boolean {
  const region = transport.reserve()
  if (region === undefined) return false
  region.bytes.fill(fill, transport.start, transport.start + length)
  transport.commit(length)
  return true
}

test("TCP: a queue that never empties keeps every byte in order, and its memory", () => {
  const { counters } = counted()
  const transport = new TcpTransport(new Arena(1024 * 1024), counters)
  const [fd, other] = openSocketPair("stream")
  setSendBuffer(fd, 8192)
  transport.open(fd)
  expect(transport.interest).toBe(POLLOUT)
  expect(transport.writable()).toBeUndefined()
  expect(transport.isOpen).toBe(true)
  const expected: Array<number> = []
  let received = Buffer.alloc(0)
  let sent = 0
  const drain = (most: number) => {
    const length = receiveBytes(other, scratch.address, most)
    if (length > 0) received = Buffer.concat([received, scratch.bytes.slice(0, length)])
    return length
  }
  for (let round = 0; round < 300; round++) {
    while (queue(transport, 1000 + (sent % 500), sent % 251)) {
      expected.push(1000 + (sent % 500))
      sent++
    }
    expect(transport.flush()).toBeUndefined()
    expect(transport.interest).toBe(POLLIN | POLLOUT)
    drain(7000)
    transport.flush()
  }
  while (drain(scratch.length) > 0) transport.flush()
  expect(transport.interest).toBe(POLLIN)
  let at = 0
  for (let i = 0; i < sent; i++) {
    const length = received.readUInt16BE(at)
    expect(length).toBe(expected[i]!)
    const packet = received.subarray(at + 2, at + 2 + length)
    if (!packet.every((byte) => byte === i % 251)) throw new Error(`packet ${i} is damaged`)
    at += 2 + length
  }
  expect(at).toBe(received.length)
  transport.close()
  closeFd(other)
})

test("TCP: close sends what the kernel still takes", () => {
  const { counters } = counted()
  const transport = new TcpTransport(new Arena(1024 * 1024), counters)
  const [fd, other] = openSocketPair("stream")
  transport.open(fd)
  transport.writable()
  queue(transport, 100, 7)
  transport.close()
  expect(receiveBytes(other, scratch.address, 1000)).toBe(102)
  expect(receiveBytes(other, scratch.address, 1000)).toBe(0)
  closeFd(other)
})

test("TCP: nothing of one connection is left in the next", () => {
  const { counters } = counted()
  const transport = new TcpTransport(new Arena(1024 * 1024), counters)
  const sizes: Array<number> = []
  const sink = { receive: (_: unknown, __: number, length: number) => sizes.push(length), flush: () => {} }
  const [first, firstOther] = openSocketPair("stream")
  transport.open(first)
  queue(transport, 50, 1)
  transport.close()
  const [second, secondOther] = openSocketPair("stream")
  transport.open(second)
  transport.writable()
  expect(receiveBytes(secondOther, scratch.address, 100)).toBe(-1)
  // Two bytes of a frame of five, then the connection ends.
  scratch.bytes.set([0, 5, 1, 2])
  sendBytes(secondOther, scratch.address, 4)
  expect(transport.receive(sink)).toBeUndefined()
  transport.close()
  const [third, thirdOther] = openSocketPair("stream")
  transport.open(third)
  transport.writable()
  scratch.bytes.set([0, 1, 9])
  sendBytes(thirdOther, scratch.address, 3)
  expect(transport.receive(sink)).toBeUndefined()
  expect(sizes).toEqual([1])
  transport.close()
  for (const fd of [firstOther, secondOther, thirdOther]) closeFd(fd)
})

test("TCP: control packets beyond the memory of the queue are dropped and counted", () => {
  const { counters, count } = counted()
  const transport = new TcpTransport(new Arena(1024 * 1024), counters)
  const [fd, other] = openSocketPair("stream")
  // Still connecting: nothing leaves.
  transport.open(fd)
  for (let i = 0; i < 1000; i++) expect(transport.transmit(new Uint8Array(1200))).toBeUndefined()
  expect(count("drop:transportBusy")).toBe(1000 - Math.floor((512 * 1024) / 1202))
  expect(transport.transmit(new Uint8Array(70_000))).toBeUndefined()
  expect(count("drop:tooLarge")).toBe(1)
  transport.close()
  closeFd(other)
})

test("UDP: an error that an earlier datagram left behind costs no packet", () => {
  const { counters, count } = counted()
  const transport = udpTransport(counters)
  const refusing = openUdpSocket({ address: "127.0.0.1", port: 9, family: 4 })
  const { port } = localAddress(refusing)
  closeFd(refusing)
  transport.open(openUdpSocket({ address: "127.0.0.1", port, family: 4 }))
  for (let i = 0; i < 10; i++) {
    queue(transport, 100, i)
    expect(transport.flush()).toBeUndefined()
    expect(transport.transmit(Uint8Array.of(0x20, i))).toBeUndefined()
  }
  expect(count("transportErrors")).toBe(19)
  expect(count("transportWritePackets")).toBe(20)
  expect(count("drop:transportError")).toBe(0)
  transport.close()
})

test("UDP: a datagram that the kernel refuses is dropped, and those behind it are sent", () => {
  const { counters, count } = counted()
  const transport = udpTransport(counters)
  const [fd, other] = openSocketPair("packets")
  setSendBuffer(fd, 8192)
  transport.open(fd)
  // EMSGSIZE for what is larger than the send buffer.
  for (const length of [10, 60_000, 20, 60_000, 30]) queue(transport, length, 1)
  expect(transport.flush()).toBeUndefined()
  expect([1, 2, 3].map(() => receiveBytes(other, scratch.address, scratch.length))).toEqual([10, 20, 30])
  expect(count("drop:transportError")).toBe(2)
  expect(count("transportWritePackets")).toBe(3)
  transport.close()
  closeFd(other)
})

test("UDP: a full send buffer loses nothing: what is queued waits, and the tun with it", () => {
  const { counters, count } = counted()
  const transport = udpTransport(counters)
  const [fd, other] = openSocketPair("packets")
  setSendBuffer(fd, 8192)
  transport.open(fd)
  for (let i = 0; i < 32; i++) queue(transport, 1000, i)
  expect(transport.flush()).toBeUndefined()
  expect(transport.interest).toBe(POLLIN | POLLOUT)
  expect(transport.isReady).toBe(false)
  const fills: Array<number> = []
  while (fills.length < 32 && receiveBytes(other, scratch.address, scratch.length) === 1000) {
    fills.push(scratch.bytes[0]!)
    transport.writable()
  }
  expect(fills).toEqual(Array.from({ length: 32 }, (_, i) => i))
  expect(transport.interest).toBe(POLLIN)
  expect(transport.isReady).toBe(true)
  expect(count("transportWritePackets")).toBe(32)
  transport.close()
  closeFd(other)
})

test("UDP: a batch is full after its messages, and empty again after a flush", () => {
  const { counters, count } = counted()
  const transport = udpTransport(counters)
  const [fd, other] = udpPair(4)
  transport.open(fd)
  let queued = 0
  while (queue(transport, 50 + queued, queued)) queued++
  expect(queued).toBe(64)
  transport.flush()
  expect(count("transportWritePackets")).toBe(64)
  expect(transport.reserve()).toBeDefined()
  for (let i = 0; i < 64; i++) expect(receiveBytes(other, scratch.address, 1000)).toBe(50 + i)
  transport.close()
  closeFd(other)
})

describe.each([[], ["udp-segment"], ["udp-gro"], ["udp-segment", "udp-gro"]] as const)(
  "UDP without %p",
  (...disabled) => {
    test("datagrams of any sizes arrive as they were sent", () => {
      const near = counted()
      const far = counted()
      const [sender, receiver] = [udpTransport(near.counters, ...disabled), udpTransport(far.counters, ...disabled)]
      const [one, two] = udpPair(4)
      sender.open(one)
      receiver.open(two)
      const random = new SeededRandom(1)
      const received: Array<string> = []
      const sink = {
        receive: (memory: Region, start: number, length: number) =>
          received.push(
            `${length} bytes of ${new Set(memory.bytes.subarray(start, start + length)).values().next().value}`,
          ),
        flush: () => {},
      }
      const sent: Array<string> = []
      for (let round = 0; round < 40; round++) {
        // Runs of one size, as segments are, with a shorter one now and then.
        const size = 1 + random.below(1472)
        for (let i = random.below(100); i >= 0; i--) {
          const length = random.below(10) === 0 ? 1 + random.below(1472) : size
          if (!queue(sender, length, sent.length % 251)) {
            expect(sender.flush()).toBeUndefined()
            queue(sender, length, sent.length % 251)
          }
          sent.push(`${length} bytes of ${sent.length % 251}`)
        }
        expect(sender.flush()).toBeUndefined()
        while (received.length < sent.length) expect(receiver.receive(sink)).toBeUndefined()
      }
      expect(received).toEqual(sent)
      expect(near.count("transportWritePackets")).toBe(sent.length)
      expect(far.count("transportReadPackets")).toBe(sent.length)
      expect(far.count("transportReadBytes")).toBe(near.count("transportWriteBytes"))
      sender.close()
      receiver.close()
    })
  },
)

describe.each([[], ["udp-segment", "udp-gro"]] as const)(
  "UDP through the relay of a SOCKS proxy, without %p",
  (...disabled) => {
    const header = Uint8Array.of(0, 0, 0, 1, 192, 0, 2, 1, 4, 170)

    test("each datagram has the header in front, the batched and the control packets", () => {
      const { counters, count } = counted()
      const transport = udpTransport(counters, ...disabled)
      const [fd, other] = udpPair(4)
      transport.open(fd, header)
      for (let i = 0; i < 40; i++) expect(queue(transport, 1000, i)).toBe(true)
      expect(transport.flush()).toBeUndefined()
      expect(transport.transmit(Uint8Array.of(0x20, 7))).toBeUndefined()
      for (let i = 0; i <= 40; i++) {
        const length = receiveBytes(other, scratch.address, scratch.length)
        expect([...scratch.bytes.slice(0, 10)]).toEqual([...header])
        const packet = scratch.bytes.slice(10, length)
        expect(packet).toEqual(i < 40 ? new Uint8Array(1000).fill(i) : Uint8Array.of(0x20, 7))
      }
      expect(count("transportWritePackets")).toBe(41)
      transport.close()
      closeFd(other)
    })

    test("it is taken off what comes, whatever address it names, and what has none is dropped", () => {
      const { counters, count } = counted()
      const transport = udpTransport(counters, ...disabled)
      const [fd, other] = udpPair(4)
      transport.open(fd, header)
      const send = (...bytes: ReadonlyArray<number>) => {
        scratch.bytes.set(bytes)
        sendBytes(other, scratch.address, bytes.length)
      }
      const end = [4, 170, 9, 8, 7]
      send(0, 0, 0, 1, 1, 2, 3, 4, ...end)
      send(0, 0, 0, 4, ...Array(16).fill(1), ...end)
      send(0, 0, 0, 3, 2, 97, 98, ...end)
      send(0, 0, 0, 1, 1, 2, 3, 4, 4, 170)
      const received: Array<ReadonlyArray<number>> = []
      const sink = {
        receive: ({ bytes }: Region, start: number, length: number) =>
          received.push([...bytes.subarray(start, start + length)]),
        flush: () => {},
      }
      expect(transport.receive(sink)).toBeUndefined()
      expect(received).toEqual([[9, 8, 7], [9, 8, 7], [9, 8, 7], []])
      // Another version, a piece of a datagram, an unknown type; cut off in the middle.
      for (const bytes of [
        [5, 0, 0, 1, 1, 2, 3, 4, ...end],
        [0, 0, 1, 1, 1, 2, 3, 4, ...end],
        [0, 0, 0, 2, 1, 2, 3, ...end],
      ])
        send(...bytes)
      for (const bytes of [[], [0, 0, 0], [0, 0, 0, 1, 1, 2, 3, 4, 4], [0, 0, 0, 3, 200, 1, 2, 3]]) send(...bytes)
      expect(transport.receive(sink)).toBeUndefined()
      expect(received).toHaveLength(4)
      expect(count("drop:malformed")).toBe(3)
      expect(count("drop:short")).toBe(4)
      transport.close()
      closeFd(other)
    })

    test("the next connection without a proxy has none", () => {
      const { counters } = counted()
      const transport = udpTransport(counters, ...disabled)
      transport.open(udpPair(4)[0], header)
      transport.close()
      const [fd, other] = udpPair(4)
      transport.open(fd)
      expect(transport.transmit(Uint8Array.of(0x20))).toBeUndefined()
      expect(receiveBytes(other, scratch.address, scratch.length)).toBe(1)
      transport.close()
      closeFd(other)
    })
  },
)

test("UDP: what the kernel refuses to cut goes by itself, once that is said, and nothing is lost", () => {
  const { counters, count } = counted()
  const events: Array<Event> = []
  const offloads = new Offloads([], (event) => events.push(event))
  let tooLarge = 0
  const transport = new UdpTransport(
    new Arena(2 * 1024 * 1024),
    counters,
    offloads,
    (reason) => reason === EMSGSIZE && tooLarge++,
  )
  const [fd, other] = openSocketPair("packets")
  // Not a UDP socket: it takes what is to be cut for one packet, which is too large for its buffer.
  setSendBuffer(fd, 8192)
  transport.open(fd)
  for (let i = 0; i < 20; i++) queue(transport, 1000, i)
  const fills: Array<number> = []
  for (let turn = 0; turn < 100 && fills.length < 20; turn++) {
    expect(transport.flush()).toBeUndefined()
    while (receiveBytes(other, scratch.address, scratch.length) === 1000) fills.push(scratch.bytes[0]!)
  }
  expect(fills).toEqual(Array.from({ length: 20 }, (_, i) => i))
  expect(count("transportWritePackets")).toBe(20)
  expect(count("drop:transportError")).toBe(0)
  expect(tooLarge).toBe(1)
  expect(events.filter((event) => event.type === "offload" && event.name === "udp-segment")).toEqual([
    { type: "offload", name: "udp-segment", isOn: true, reason: "" },
    {
      type: "offload",
      name: "udp-segment",
      isOn: false,
      reason: "sendmmsg: EMSGSIZE for datagrams of 1000 bytes",
    },
  ])
  // Smaller ones may still go together, as far as this path is concerned.
  for (let i = 0; i < 4; i++) queue(transport, 500, i)
  expect(transport.flush()).toBeUndefined()
  expect(receiveBytes(other, scratch.address, scratch.length)).toBe(2000)
  transport.close()
  closeFd(other)
})

test("UDP: an error that sendmmsg keeps to itself, as it does after its first message, has the path looked at", async () => {
  const { counters, count } = counted()
  const told: Array<number> = []
  const offloads = new Offloads(["udp-segment"], () => {})
  const transport = new UdpTransport(new Arena(2 * 1024 * 1024), counters, offloads, (reason) => told.push(reason))
  const [fd, other] = udpPair(4)
  transport.open(fd)
  let sent = 0
  const send = () => {
    for (let i = 0; i < 3; i++) queue(transport, 100 + i, i)
    sent += 3
    expect(transport.flush()).toBeUndefined()
  }
  send()
  expect(told).toEqual([])
  // From now on each datagram is answered by ICMP, which the next one of the batch meets.
  closeFd(other)
  await soon("the path is to be looked at", () => {
    send()
    return told.includes(EMSGSIZE)
  })
  expect(count("transportWritePackets")).toBe(sent)
  transport.close()
})

test("UDP: a descriptor that is no socket is the end of the transport", () => {
  const { counters } = counted()
  const transport = udpTransport(counters)
  transport.open(1_000_000)
  queue(transport, 10, 1)
  expect(transport.flush()).toBe("sendmmsg: EBADF")
  expect(transport.receive({ receive: () => 0, flush: () => {} })).toBe("recvmmsg: EBADF")
})

test("UDP: where a lot waits again and again the socket's buffer is made small, but for a size that was asked for", () => {
  const largest = (keepsBuffer: boolean) => {
    const { counters } = counted()
    const transport = udpTransport(counters)
    const [fd, other] = udpPair(4)
    transport.open(fd, undefined, keepsBuffer)
    const before = receiveBufferOf(fd)
    const sink = { receive: () => 0, flush: () => {} }
    for (let round = 0; round < 100 && receiveBufferOf(fd) === before; round++) {
      for (let i = 0; i < 12; i++) sendBytes(other, scratch.at(0, 60_000), 60_000)
      expect(transport.receive(sink)).toBeUndefined()
    }
    const after = receiveBufferOf(fd)
    transport.close()
    closeFd(other)
    return { before, after }
  }
  const { before, after } = largest(false)
  expect(after).toBeLessThan(before)
  expect(largest(true)).toEqual({ before, after: before })
})
