/** `passtos`: the DSCP of a packet, and which datagrams may go as one message then. */
import { describe, expect, test } from "bun:test"
import { dscpOf } from "../../src/dataplane/dscp.ts"
import { MessageQueue } from "../../src/dataplane/messages.ts"
import { Arena } from "../../src/linux/index.ts"

describe("the DSCP of a packet", () => {
  const packet = (...bytes: ReadonlyArray<number>) => Uint8Array.of(...bytes, ...new Uint8Array(40 - bytes.length))

  test("is IPv4's type of service and IPv6's traffic class, without congestion notification", () => {
    expect(dscpOf(packet(0x45, 0xb8), 0, 40)).toBe(0xb8)
    expect(dscpOf(packet(0x45, 0xbb), 0, 40)).toBe(0xb8)
    expect(dscpOf(packet(0x6b, 0x80), 0, 40)).toBe(0xb8)
    expect(dscpOf(packet(0x6b, 0xb0), 0, 40)).toBe(0xb8)
  })

  test("is none in what is no IP packet", () => {
    expect(dscpOf(packet(0x15, 0xff), 0, 40)).toBe(0)
    expect(dscpOf(packet(0x45, 0xb8), 0, 19)).toBe(0)
  })
})

test("datagrams of one traffic class are one message, of another one another", () => {
  const queue = new MessageQueue(new Arena(1024 * 1024), 2000)
  for (const trafficClass of [0xb8, 0xb8, 0xb8, 0, 0, 0x28]) queue.append(1000, trafficClass)
  const messages: Array<number> = []
  for (; !queue.isEmpty; queue.takeMessage()) messages.push(queue.headDatagrams)
  expect(messages).toEqual([3, 2, 1])
})
