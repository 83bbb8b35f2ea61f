/**
 * The worker's entry. It blocks in poll(2), so messages arrive only when it yields: the main thread signals the eventfd
 * once for each message it posted, and the worker yields until it has taken as many messages as were signalled.
 */
import { prepareOpenSsl } from "../openssl/prepare.ts"
import type { DirectionKey } from "../protocol/output.ts"
import type { Command, Event } from "./commands.ts"
import { Counters } from "./counters.ts"
import { Loop } from "./loop.ts"
import type { OffloadName } from "./offload.ts"

/** The first message. */
export interface Start {
  readonly eventfd: number
  readonly counters: SharedArrayBuffer
  readonly disabledOffloads: ReadonlyArray<OffloadName>
}

/** What the worker posts; after "crashed" and "stopped" it ends. "taken": the descriptor of a transport is the worker's now. */
export type WorkerMessage =
  | Event
  | { readonly type: "taken"; readonly generation: number }
  | { readonly type: "crashed"; readonly message: string }

declare const self: {
  onmessage: ((message: { readonly data: unknown }) => void) | null
  postMessage(message: WorkerMessage): void
}

let loop: Loop | undefined
/** Messages signalled and not taken yet; negative when one overtook its signal. */
let owed = 0
let isStopping = false

self.onmessage = ({ data }) => {
  const start = data as Start
  loop = new Loop(start.eventfd, new Counters(start.counters), start.disabledOffloads, (event) =>
    self.postMessage(event),
  )
  self.onmessage = ({ data }) => guarded(() => take(data as Command))
  self.postMessage({ type: "ready" })
  setImmediate(run)
}

// While the main thread loads its modules.
prepareOpenSsl()

function run(): void {
  guarded(() => {
    while (owed <= 0 && !isStopping) owed += loop!.turn(POLL_TIMEOUT)
    if (isStopping) end({ type: "stopped" })
    else setImmediate(run)
  })
}

function take(command: Command): void {
  owed--
  if (command.type === "stop") {
    isStopping = true
    return
  }
  if (isStopping) return
  if (command.type === "attachTransport") self.postMessage({ type: "taken", generation: command.generation })
  loop!.command(command)
  if (command.type === "installKey") wipe(command.key.send, command.key.receive)
}

/** The copies that came with the message; OpenSSL has its own by now. */
function wipe(...keys: ReadonlyArray<DirectionKey>): void {
  for (const key of keys) {
    key.cipherKey.fill(0)
    key.implicitIv.fill(0)
    key.hmacKey?.fill(0)
  }
}

function guarded(work: () => void): void {
  try {
    work()
  } catch (error) {
    end({ type: "crashed", message: error instanceof Error ? error.message : String(error) })
  }
}

function end(last: WorkerMessage): void {
  loop?.close()
  self.postMessage(last)
  process.exit(0)
}

/** ms; the heartbeat is written at least this often. */
const POLL_TIMEOUT = 1000
