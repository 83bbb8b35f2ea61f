import { describe, expect, test } from "bun:test"
import {
  Arena,
  closeFd,
  EAGAIN,
  enableGro,
  errno,
  hasNetAdmin,
  localAddress,
  openStraySocket,
  openTcpSocket,
  openUdpSocket,
  POLLIN,
  POLLOUT,
  Poll,
  ReceiveBatch,
  readSocketAddress,
  receiveBytes,
  receiveFrom,
  SendBatch,
  SOCKADDR_SIZE,
  SystemError,
  sendBytes,
  socketError,
} from "../../src/linux/index.ts"
import { libc } from "../../src/linux/libc.ts"
import { eventually } from "../support/child.ts"
import { udpPair } from "../support/pair.ts"

const loopback = [
  { family: 4, address: "127.0.0.1" },
  { family: 6, address: "::1" },
] as const

describe.each(loopback)("UDP over IPv$family", ({ family, address }) => {
  test("sends to and receives from its one peer, from the port it reports", async () => {
    const received: Array<{ text: string; port: number }> = []
    const peer = await Bun.udpSocket({
      hostname: address,
      socket: { data: (_, data, port) => void received.push({ text: data.toString(), port }) },
    })
    const fd = openUdpSocket({ address, port: peer.port, family })
    try {
      const memory = new Arena(256).allocate(64)
      memory.bytes.set(new TextEncoder().encode("hello"))
      expect(receiveBytes(fd, memory.address, 64)).toBe(-1)
      expect(errno()).toBe(EAGAIN)
      expect(sendBytes(fd, memory.address, 5)).toBe(5)
      await eventually(5000, "the datagram", () => received.length > 0)
      expect(received[0]).toEqual({ text: "hello", port: localAddress(fd).port })
      expect(localAddress(fd).address).toBe(address)
      peer.send("answer", localAddress(fd).port, address)
      await eventually(5000, "the answer", () => receiveBytes(fd, memory.address, 64) === 6)
      expect(new TextDecoder().decode(memory.bytes.slice(0, 6))).toBe("answer")
    } finally {
      closeFd(fd)
      peer.close()
    }
  })

  test("what others send comes to a second socket of the same port, and says who sent it; nobody else's is given that port", async () => {
    const [peer, stranger] = [await Bun.udpSocket({ hostname: address }), await Bun.udpSocket({ hostname: address })]
    const to = { address, port: peer.port, family, sharesPort: true }
    const opened: Array<number> = []
    try {
      for (const local of [undefined, { address }, { address }]) {
        const options = { ...to, ...(local && { local }) }
        const fd = openUdpSocket(options)
        opened.push(fd)
        const stray = openStraySocket(fd, options)
        opened.push(stray)
        const { port } = localAddress(fd)
        expect(localAddress(stray).port).toBe(port)
        const arena = new Arena(256)
        const [memory, sender] = [arena.allocate(64), arena.allocate(SOCKADDR_SIZE)]
        for (let i = 0; i < 20; i++) {
          peer.send("from the peer", port, address)
          stranger.send("hello", port, address)
          await eventually(5000, "both", () => receiveBytes(fd, memory.address, 64) === 13)
          await eventually(5000, "the stranger's", () => receiveFrom(stray, memory, sender) === 5)
          expect(readSocketAddress(sender.bytes)).toEqual({ address, port: stranger.port })
        }
        expect(receiveBytes(fd, memory.address, 64)).toBe(-1)
        expect(receiveFrom(stray, memory, sender)).toBe(-1)
        expect(() => openUdpSocket({ ...to, sharesPort: false, local: { port } })).toThrow("EADDRINUSE")
      }
    } finally {
      for (const fd of opened) closeFd(fd)
      for (const socket of [peer, stranger]) socket.close()
    }
  })

  test("several messages take one call, each with its own length", async () => {
    const [sender, receiver] = udpPair(family)
    try {
      const { region, outgoing, incoming } = batches()
      for (let i = 0; i < 4; i++) {
        region.bytes.fill(i + 1, i * 1000, i * 1000 + 1000)
        outgoing.set(i, i * 1000, (i + 1) * 100, 0)
      }
      expect(outgoing.send(sender, 1, 4)).toBe(3)
      await eventually(5000, "three datagrams", () => incoming.receive(receiver) === 3)
      expect([0, 1, 2].map((slot) => incoming.received(slot))).toEqual([200, 300, 400])
      expect([0, 1, 2].map((slot) => incoming.slots[slot]!.bytes[199])).toEqual([2, 3, 4])
    } finally {
      for (const fd of [sender, receiver]) closeFd(fd)
    }
  })

  test("a message with a segment size is many datagrams, which may arrive as one message again", async () => {
    const [sender, receiver] = udpPair(family)
    try {
      const { region, outgoing, incoming } = batches()
      region.bytes.forEach((_, at) => {
        region.bytes[at] = at / 700
      })
      outgoing.set(0, 0, 3000, 700)
      expect(outgoing.send(sender, 0, 1)).toBe(1)
      await eventually(5000, "five datagrams", () => incoming.receive(receiver) === 5)
      expect([0, 1, 2, 3, 4].map((slot) => incoming.received(slot))).toEqual([700, 700, 700, 700, 200])
      expect([0, 1, 2, 3, 4].map((slot) => incoming.slots[slot]!.bytes[199])).toEqual([0, 1, 2, 3, 4])
      expect(incoming.segmentSize(0)).toBe(0)

      expect(enableGro(receiver)).toBe(true)
      expect(outgoing.send(sender, 0, 1)).toBe(1)
      await eventually(5000, "one message", () => incoming.receive(receiver) === 1)
      expect(incoming.received(0)).toBe(3000)
      expect(incoming.segmentSize(0)).toBe(700)
      expect(incoming.slots[0]!.bytes.slice(0, 3000)).toEqual(region.bytes.slice(0, 3000))

      // What the last call found in the slot does not show in this one.
      outgoing.set(0, 0, 100, 0)
      outgoing.send(sender, 0, 1)
      await eventually(5000, "a datagram", () => incoming.receive(receiver) === 1)
      expect([incoming.received(0), incoming.segmentSize(0)]).toEqual([100, 0])
    } finally {
      for (const fd of [sender, receiver]) closeFd(fd)
    }
  })
})

function batches() {
  const arena = new Arena(64 * 1024)
  const region = arena.allocate(4000)
  return { region, outgoing: new SendBatch(arena, 4, region), incoming: new ReceiveBatch(arena, 8, 4000) }
}

describe.each(loopback)("TCP over IPv$family", ({ family, address }) => {
  test("is writable once it is connected, without an error", async () => {
    const received: Array<string> = []
    const server = Bun.listen({
      hostname: address,
      port: 0,
      socket: { data: (_, data) => void received.push(`${data}`) },
    })
    const fd = openTcpSocket({ address, port: server.port, family })
    try {
      const poll = new Poll(1)
      poll.set(0, fd, POLLOUT)
      await eventually(5000, "the connection", () => poll.wait(0) === 1)
      expect(socketError(fd)).toBe(0)
      const memory = new Arena(64).allocate(16)
      memory.bytes.set(new TextEncoder().encode("stream"))
      expect(sendBytes(fd, memory.address, 6)).toBe(6)
      await eventually(5000, "the bytes", () => received.join("") === "stream")
    } finally {
      closeFd(fd)
      server.stop(true)
    }
  })

  test("reports a refused connection as the socket's error", async () => {
    const server = Bun.listen({ hostname: address, port: 0, socket: { data: () => {} } })
    const port = server.port
    server.stop(true)
    const fd = await eventually(5000, "the port is closed", () => openTcpSocket({ address, port, family }))
    const poll = new Poll(1)
    poll.set(0, fd, POLLOUT)
    await eventually(5000, "the end of the attempt", () => poll.wait(0) === 1)
    expect(socketError(fd)).toBe(111)
    closeFd(fd)
  })
})

describe.if(hasNetAdmin())("the kernel has what a socket is opened with", () => {
  const memory = new Arena(256)
  const value = memory.allocate(64)
  const length = memory.allocate(4)
  const option = (fd: number, name: number): Uint8Array => {
    length.view.setUint32(0, 64, true)
    expect(libc.getsockopt(fd, SOL_SOCKET, name, value.address, length.address)).toBe(0)
    return value.bytes.slice(0, length.view.getUint32(0, true))
  }
  const number = (fd: number, name: number) => new DataView(option(fd, name).buffer).getInt32(0, true)

  test.each([
    ["UDP", openUdpSocket],
    ["TCP", openTcpSocket],
  ])("%s", (_, open) => {
    const buffers = { sendBuffer: 300_000, receiveBuffer: 500_000 }
    const fd = open({ address: "127.0.0.1", port: 9, family: 4, ...buffers, mark: 77, bindDevice: "lo" })
    try {
      // The kernel doubles sizes, for its own bookkeeping.
      expect([number(fd, SO_SNDBUF), number(fd, SO_RCVBUF)]).toEqual([600_000, 1_000_000])
      expect(number(fd, SO_MARK)).toBe(77)
      expect(new TextDecoder().decode(option(fd, SO_BINDTODEVICE))).toBe("lo\0")
    } finally {
      closeFd(fd)
    }
  })
})

describe("what cannot be opened is a SystemError that says why", () => {
  const attempt = (options: Parameters<typeof openUdpSocket>[0]): SystemError => {
    try {
      closeFd(openUdpSocket(options))
    } catch (error) {
      if (error instanceof SystemError) return error
    }
    throw new Error("no SystemError")
  }

  test("an address that is none of its family", () => {
    expect(attempt({ address: "host.example", port: 1, family: 4 }).message).toBe("address host.example:1: EINVAL")
    expect(attempt({ address: "::1", port: 1, family: 4 }).code).toBe("EINVAL")
    expect(attempt({ address: "127.0.0.1", port: 1, family: 6 }).code).toBe("EINVAL")
    expect(attempt({ address: "127.0.0.1", port: 65536, family: 4 }).code).toBe("EINVAL")
  })

  test("a local address that is not ours", () => {
    const error = attempt({ address: "127.0.0.1", port: 1, family: 4, local: { address: "192.0.2.1" } })
    expect(error.message).toBe("bind 192.0.2.1:0: EADDRNOTAVAIL")
  })

  test("a local port that is taken", async () => {
    const taken = await Bun.udpSocket({ hostname: "127.0.0.1" })
    const error = attempt({
      address: "127.0.0.1",
      port: 1,
      family: 4,
      local: { address: "127.0.0.1", port: taken.port },
    })
    expect(error.syscall).toBe(`bind 127.0.0.1:${taken.port}`)
    expect(error.code).toBe("EADDRINUSE")
    taken.close()
  })

  test("a zone that is no interface", () => {
    expect(attempt({ address: "fe80::1%nosuch0", port: 1, family: 6 }).message).toBe("interface nosuch0: ENODEV")
  })

  test("a device that is not there", () => {
    const error = attempt({ address: "127.0.0.1", port: 1, family: 4, bindDevice: "nosuch0" })
    expect(error.message).toBe("bind to the device nosuch0: ENODEV")
  })

  test("a failed attempt leaves no descriptor behind", () => {
    const first = openUdpSocket({ address: "127.0.0.1", port: 9, family: 4 })
    closeFd(first)
    attempt({ address: "127.0.0.1", port: 1, family: 4, local: { address: "192.0.2.1" } })
    const second = openUdpSocket({ address: "127.0.0.1", port: 9, family: 4 })
    closeFd(second)
    expect(second).toBe(first)
  })
})

test("poll reports only descriptors with events, and none that is left out", async () => {
  const peer = await Bun.udpSocket({ hostname: "127.0.0.1" })
  const fd = openUdpSocket({ address: "127.0.0.1", port: peer.port, family: 4 })
  const poll = new Poll(3)
  poll.set(0, fd, POLLIN)
  poll.set(2, fd, POLLOUT)
  expect(poll.wait(0)).toBe(1)
  expect([0, 1, 2].map((slot) => poll.events(slot))).toEqual([0, 0, POLLOUT])
  poll.set(2, -1, POLLOUT)
  expect(poll.wait(0)).toBe(0)
  closeFd(fd)
  peer.close()
})

/** <asm-generic/socket.h> */
const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_RCVBUF = 8
const SO_BINDTODEVICE = 25
const SO_MARK = 36
