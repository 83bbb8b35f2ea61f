import { describe, expect, test } from "bun:test"
import { empty } from "../../src/protocol/bytes.ts"
import { Opcode } from "../../src/protocol/opcode.ts"
import { ReliableReceiver, ReliableSender } from "../../src/protocol/reliability.ts"
import { forEachSeed, SeededRandom } from "../support/network.ts"

const senderWith = (messages: number) => {
  const sender = new ReliableSender(2000)
  for (let id = 0; id < messages; id++) sender.queue(0, Opcode.ControlV1, empty)
  return sender
}
const ids = (messages: ReadonlyArray<{ readonly id: number }>) => messages.map(({ id }) => id)
const message = (id: number) => ({ id, opcode: Opcode.ControlV1, payload: Uint8Array.of(id) })

describe("the sender", () => {
  test("has room for six messages from the oldest unacknowledged one", () => {
    const sender = senderWith(6)
    expect(sender.hasRoom).toBe(false)
    sender.acknowledge([1, 2, 3, 4, 5])
    expect(sender.hasRoom).toBe(false)
    sender.acknowledge([0])
    expect(sender.hasRoom).toBe(true)
    expect(sender.isIdle).toBe(true)
  })

  test("transmits again after 2, 4, 8 s and so on", () => {
    const sender = senderWith(1)
    const times: Array<number> = []
    for (let now = 0; times.length < 5; now = sender.nextDue!) {
      expect(ids(sender.take(now))).toEqual([0])
      expect(ids(sender.take(sender.nextDue! - 1))).toEqual([])
      times.push(now)
    }
    expect(times).toEqual([0, 2000, 6000, 14_000, 30_000])
  })

  test("transmits a message at once when three later ones were acknowledged, without longer waits", () => {
    const sender = senderWith(5)
    sender.take(0)
    sender.acknowledge([1, 2])
    expect(ids(sender.take(100))).toEqual([])
    sender.acknowledge([2, 2, 1])
    expect(ids(sender.take(100))).toEqual([])
    sender.acknowledge([3])
    expect(ids(sender.take(100))).toEqual([0])
    expect(ids(sender.take(100))).toEqual([])
    // Sent twice, but its interval was doubled once only.
    expect(ids(sender.take(4100))).toEqual([0, 4])
  })

  test("ignores acknowledgements of what it never sent", () => {
    const sender = senderWith(2)
    sender.take(0)
    sender.acknowledge([7, 0xffffffff])
    expect(sender.isIdle).toBe(false)
    expect(sender.nextDue).toBe(2000)
  })
})

describe("the receiver", () => {
  const deliver = (receiver: ReliableReceiver) => {
    const delivered: Array<number> = []
    for (let next = receiver.next(); next !== undefined; next = receiver.next()) delivered.push(next.id)
    return delivered
  }

  test("delivers in order what arrives out of order", () => {
    const receiver = new ReliableReceiver()
    for (const id of [2, 1]) receiver.offer(message(id))
    expect(deliver(receiver)).toEqual([])
    receiver.offer(message(0))
    expect(deliver(receiver)).toEqual([0, 1, 2])
  })

  test("acknowledges duplicates again, and nothing beyond its window of twelve", () => {
    const receiver = new ReliableReceiver()
    expect(receiver.offer(message(0))).toBe("accepted")
    expect(receiver.offer(message(11))).toBe("accepted")
    expect(receiver.offer(message(12))).toBe("outside")
    expect(receiver.takeAcks(8)).toEqual([0, 11])
    expect(deliver(receiver)).toEqual([0])
    expect(receiver.hasPendingAcks).toBe(false)
    expect(receiver.offer(message(0))).toBe("duplicate")
    expect(receiver.offer(message(11))).toBe("duplicate")
    expect(receiver.hasPendingAcks).toBe(true)
  })

  test("fills packets up with recent acknowledgements, newest first", () => {
    const receiver = new ReliableReceiver()
    for (let id = 0; id < 3; id++) {
      receiver.offer(message(id))
      receiver.takeAcks(4)
    }
    receiver.offer(message(3))
    expect(receiver.takeAcks(4)).toEqual([3, 2, 1, 0])
    for (let id = 4; id < 10; id++) receiver.offer(message(id))
    expect(receiver.takeAcks(4)).toEqual([4, 5, 6, 7])
    expect(receiver.hasPendingAcks).toBe(true)
    expect(receiver.takeAcks(8)).toEqual([8, 9, 7, 6, 5, 4, 3, 2])
  })
})

test("sender and receiver together deliver everything once and in order over a channel that loses half", () => {
  forEachSeed(50, (seed) => {
    const random = new SeededRandom(seed)
    const sender = new ReliableSender(2000)
    const receiver = new ReliableReceiver()
    const delivered: Array<number> = []
    let queued = 0
    for (let now = 0; delivered.length < 40; now += 500) {
      while (sender.hasRoom && queued < 40) {
        sender.queue(now, Opcode.ControlV1, empty)
        queued++
      }
      for (const sent of sender.take(now)) if (random.next() < 0.5) receiver.offer(sent)
      for (let next = receiver.next(); next !== undefined; next = receiver.next()) delivered.push(next.id)
      if (random.next() < 0.5) sender.acknowledge(receiver.takeAcks(8))
      if (now > 1e8) throw new Error("stuck")
    }
    expect(delivered).toEqual(Array.from({ length: 40 }, (_, index) => index))
  })
})
