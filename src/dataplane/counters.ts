/**
 * The counters that the worker writes and everybody reads: one Float64 each in a SharedArrayBuffer. There is a single
 * writer, and an aligned 64-bit store is never seen half done, so neither side needs atomics.
 */
import { type DropReason, dropReasons } from "./drop.ts"

const plainNames = [
  "tunReadPackets",
  "tunReadBytes",
  /** Of those, what was read packet by packet, not cut from something larger. */
  "tunLonePackets",
  "tunLoneBytes",
  "tunWritePackets",
  "tunWriteBytes",
  /** Datagrams or frames, control packets included. Bytes without outer headers; TCP: with the frame's length prefix. */
  "transportReadPackets",
  "transportReadBytes",
  "transportWritePackets",
  "transportWriteBytes",
  /** Errors that the socket reported and survived: ECONNREFUSED, ENETUNREACH, ... */
  "transportErrors",
  /** Times are ms of CLOCK_MONOTONIC, 0 is never. The last authenticated data packet of any link, pings included. */
  "lastReceive",
  /** Written at each turn of the worker's loop, which is at least once a second. */
  "heartbeat",
  /** Turns of the loop. Many of them without packets mean that it spins. */
  "turns",
] as const

/** What each link counts in memory of its own. */
const linkNames = [
  /** The last authenticated data packet, pings included. */
  "lastReceive",
  /** The last data packet that was sealed for sending, pings included. */
  "lastSend",
  /** The last IP packet from or to the tun, those that a server sends to all its clients left out; the bytes of all packets. */
  "lastTunActivity",
  "tunBytes",
  /** Since the current sending key came into use, and only under it; bytes are those of both directions. */
  "sealedPackets",
  "openedPackets",
  "keyBytes",
] as const

export type CounterName = (typeof plainNames)[number] | `drop:${DropReason}`
export type LinkCounterName = (typeof linkNames)[number]

export const counterNames: ReadonlyArray<CounterName> = [
  ...plainNames,
  ...dropReasons.map((reason) => `drop:${reason}` as const),
]

export interface CounterReader {
  read(name: CounterName): number
  all(): Record<CounterName, number>
}

export function createCounterMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(counterNames.length * Float64Array.BYTES_PER_ELEMENT)
}

export function counterReader(memory: SharedArrayBuffer): CounterReader {
  const values = new Float64Array(memory)
  const index = new Map(counterNames.map((name, position) => [name, position]))
  return {
    read: (name) => values[index.get(name)!]!,
    all: () =>
      Object.fromEntries(counterNames.map((name, position) => [name, values[position]!])) as Record<
        CounterName,
        number
      >,
  }
}

export function createLinkCounterMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(linkNames.length * Float64Array.BYTES_PER_ELEMENT)
}

export function linkCounterReader(memory: SharedArrayBuffer): (name: LinkCounterName) => number {
  const values = new Float64Array(memory)
  return (name) => values[LinkCounter[name]]!
}

/** The writer's side: positions are `Counter.<name>`, drops are counted by their negative number. */
export class Counters {
  /** Where it counts; another place for as long as nothing shall be seen of it. */
  values: Float64Array

  constructor(memory: SharedArrayBuffer) {
    this.values = new Float64Array(memory)
  }

  add(position: number, amount: number): void {
    this.values[position]! += amount
  }

  set(position: number, value: number): void {
    this.values[position] = value
  }

  drop(reason: number): void {
    this.values[plainNames.length - 1 - reason]! += 1
  }
}

export const Counter = positions(plainNames)
export const LinkCounter = positions(linkNames)

function positions<Name extends string>(names: ReadonlyArray<Name>): Readonly<Record<Name, number>> {
  return Object.fromEntries(names.map((name, position) => [name, position])) as Record<Name, number>
}
