import { expect, test } from "bun:test"
import { FrameQueue } from "../../src/dataplane/framequeue.ts"
import { Arena } from "../../src/linux/index.ts"

const SIZE = 1000

test("what is sent is what was appended, in order, however much is sent at once; no byte is moved", () => {
  const queue = new FrameQueue(new Arena(4 * SIZE), SIZE)
  const waiting: Array<number> = []
  const places: Array<number> = []
  let seed = 1
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff
    return (seed >> 8) % below
  }
  let wrapped = 0
  let sends = 0
  for (let step = 0; step < 20_000; step++) {
    const length = 1 + random(120)
    const before = queue.tail
    if (random(2) === 0 && queue.makeRoom(length)) {
      if (queue.tail < before) wrapped++
      for (let i = 0; i < length; i++) {
        const byte = random(256)
        queue.region.bytes[queue.tail + i] = byte
        waiting.push(byte)
        places.push(queue.tail + i)
      }
      queue.append(length)
    } else if (queue.piece > 0) {
      sends++
      const sent = 1 + random(queue.piece)
      expect([...queue.region.bytes.subarray(queue.head, queue.head + sent)]).toEqual(waiting.splice(0, sent))
      expect(queue.head).toBe(places.splice(0, sent)[0]!)
      queue.take(sent)
    }
    expect(queue.length).toBe(waiting.length)
    expect(queue.piece > 0).toBe(waiting.length > 0)
  }
  expect(wrapped).toBeGreaterThan(100)
  expect(sends).toBeGreaterThan(100)
})

test("a full queue has no room, and has it again where its first frames were", () => {
  const queue = new FrameQueue(new Arena(4 * SIZE), SIZE)
  expect(queue.makeRoom(SIZE)).toBe(true)
  queue.append(SIZE)
  expect(queue.makeRoom(1)).toBe(false)
  queue.take(400)
  expect(queue.makeRoom(401)).toBe(false)
  expect(queue.makeRoom(400)).toBe(true)
  expect([queue.tail, queue.length, queue.piece]).toEqual([0, 600, 600])
  queue.append(400)
  expect(queue.makeRoom(1)).toBe(false)
  queue.take(600)
  expect([queue.head, queue.length, queue.piece]).toEqual([0, 400, 400])
})
