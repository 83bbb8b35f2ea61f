/**
 * What the hot path knows of one link: a transport, its keys, and what is remembered about the server behind it. Several live
 * side by side while one takes over from another.
 */
import { createLinkCounterMemory } from "./counters.ts"
import type { KeySlots } from "./keyslots.ts"
import type { Strays } from "./strays.ts"
import type { Transport } from "./transport.ts"

export class Link {
  /** 0: the link is free. */
  generation = 0
  fd = -1
  transport: Transport
  readonly keys: KeySlots
  /** By `LinkCounter`; written here, read by the main thread. */
  counts: Float64Array = nobody
  /** Data packets that come before the first key are not lost: the server may send right behind its configuration. */
  isAwaitingKey = true
  /** Datagrams get the DSCP of the packet in them. */
  passTos = false
  /** Undefined: nothing is taken from anybody but the peer. */
  strays: Strays | undefined = undefined
  /** Whether `remoteExit` was reported. */
  hasRemoteLeft = false
  /** Control packets taken in the present second. */
  floodSecond = 0
  floodCount = 0

  constructor(keys: KeySlots, transport: Transport) {
    this.keys = keys
    this.transport = transport
  }

  /** Nothing of an earlier link is left. `transport` is open on `fd`. */
  begin(generation: number, fd: number, transport: Transport, counts: Float64Array): void {
    this.generation = generation
    this.fd = fd
    this.transport = transport
    this.counts = counts
    this.isAwaitingKey = true
    this.passTos = false
    this.hasRemoteLeft = false
    this.floodCount = 0
  }

  /** Closes the transport, after a last try to send what is queued, and forgets all keys. */
  end(): void {
    this.keys.clear()
    this.transport.close()
    this.strays?.close()
    this.strays = undefined
    this.generation = 0
    this.fd = -1
    this.counts = nobody
  }
}

/** Counts that nobody reads. */
const nobody = new Float64Array(createLinkCounterMemory())
