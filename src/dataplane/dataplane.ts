/** The main thread's handle on the data-plane worker. */
import { closeFd, openEventfd, signalEventfd } from "../linux/index.ts"
import type { Command, Event } from "./commands.ts"
import { type CounterReader, counterReader, createCounterMemory } from "./counters.ts"
import type { OffloadName } from "./offload.ts"
import { takeThread } from "./thread.ts"
import type { Start, WorkerMessage } from "./worker.ts"

export interface DataPlaneHandle {
  /**
   * Commands are carried out in the order they are sent. Ignored once the worker has ended; a socket that comes too late is
   * closed.
   */
  send(command: Command): void
  readonly counters: CounterReader
  /** Resolves when the worker has ended and the transport is closed. The tun stays open: it is not the worker's. */
  stop(): Promise<void>
}

export interface DataPlaneOptions {
  /** Of an earlier worker, when the counting goes on; else new. */
  readonly counters?: SharedArrayBuffer
  /** Not even tried. */
  readonly disabledOffloads?: ReadonlyArray<OffloadName>
  /** In order; none comes after `stop` has resolved. */
  readonly onEvent: (event: Event) => void
  /** The worker ended unasked: a defect. Called once; the handle is of no use afterwards. */
  readonly onCrash: (message: string) => void
}

/** Starts the worker. Throws a `SystemError` when there is no descriptor left for the eventfd. */
export function startDataPlane(options: DataPlaneOptions): DataPlaneHandle {
  const memory = options.counters ?? createCounterMemory()
  const eventfd = openEventfd()
  const worker = takeThread()
  const ended = Promise.withResolvers<void>()
  let state: "running" | "stopping" | "ended" = "running"
  let hasCrashed = false
  /** By generation: sockets that were handed over, and that the worker has not said to have. */
  const handedOver = new Map<number, ReadonlyArray<number>>()

  const crash = (message: string) => {
    if (hasCrashed || state === "ended") return
    hasCrashed = true
    options.onCrash(message)
  }
  worker.onmessage = (message: MessageEvent<WorkerMessage>) => {
    const { data } = message
    if (data.type === "crashed") crash(data.message)
    else if (data.type === "taken") handedOver.delete(data.generation)
    else options.onEvent(data)
  }
  worker.onerror = (error) => crash(error.message)
  worker.addEventListener("close", () => {
    if (state === "running") crash("the worker ended unasked")
    state = "ended"
    for (const sockets of handedOver.values()) sockets.forEach(closeFd)
    closeFd(eventfd)
    ended.resolve()
  })
  const post = (message: Command) => {
    worker.postMessage(message)
    signalEventfd(eventfd)
  }
  worker.postMessage({ eventfd, counters: memory, disabledOffloads: options.disabledOffloads ?? [] } satisfies Start)

  return {
    send: (command) => {
      if (command.type === "attachTransport") {
        const sockets = [command.fd, ...(command.strays === undefined ? [] : [command.strays.fd])]
        if (state === "running") handedOver.set(command.generation, sockets)
        else sockets.forEach(closeFd)
      }
      if (state === "running") post(command)
    },
    counters: counterReader(memory),
    stop: () => {
      if (state === "running") {
        state = "stopping"
        post({ type: "stop" })
      }
      return ended.promise
    },
  }
}
