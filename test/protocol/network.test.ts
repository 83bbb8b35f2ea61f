/** The virtual network does what the scenarios rely on, and the same for the same seed. */
import { expect, test } from "bun:test"
import { type Conditions, type Endpoint, perfect, SeededRandom, VirtualNetwork } from "../support/network.ts"

const silent: Endpoint = { receive() {}, timeout() {}, nextTimeout: () => undefined, outgoing: () => undefined }

/** Sends 1000 numbered packets at once; what arrives, with the time. */
const deliver = (conditions: Conditions, seed = 1) => {
  const waiting = Array.from({ length: 1000 }, (_, index) => Uint8Array.of(index >> 8, index & 255))
  const sender: Endpoint = { ...silent, outgoing: () => waiting.shift() }
  const arrived: Array<readonly [now: number, number: number]> = []
  const receiver: Endpoint = { ...silent, receive: (now, [high, low]) => arrived.push([now, (high! << 8) | low!]) }
  const network = new VirtualNetwork(new SeededRandom(seed), conditions, sender, receiver)
  network.pass(10_000)
  return { arrived, network }
}

test("a perfect network delivers everything once, in order, after its delay", () => {
  const { arrived } = deliver(perfect)
  expect(arrived).toEqual(Array.from({ length: 1000 }, (_, index) => [10, index]))
})

test("loss, duplication and corruption happen as often as they should", () => {
  const { arrived, network } = deliver({ loss: 0.3, duplication: 0.1, corruption: 0.2, delay: [10, 10] })
  const { lost, duplicated, corrupted } = network.spoilt
  expect(Math.abs(lost - 300)).toBeLessThan(60)
  expect(Math.abs(duplicated - 70)).toBeLessThan(30)
  expect(Math.abs(corrupted - 140)).toBeLessThan(45)
  expect(arrived).toHaveLength(1000 - lost + duplicated)
})

test("different delays reorder", () => {
  const numbers = deliver({ ...perfect, delay: [5, 400] }).arrived.map(([, number]) => number)
  expect(numbers).not.toEqual(numbers.toSorted((a, b) => a - b))
  expect(new Set(numbers).size).toBe(1000)
})

test("the same seed gives the same network, another one another", () => {
  const conditions = { loss: 0.3, duplication: 0.1, corruption: 0.1, delay: [5, 400] } as const
  expect(deliver(conditions, 3).arrived).toEqual(deliver(conditions, 3).arrived)
  expect(deliver(conditions, 3).arrived).not.toEqual(deliver(conditions, 4).arrived)
})
