/**
 * Datagrams of one size at a rate, and what counts them: many of them a system call, so that not the one who sends or receives is
 * what limits. iperf3 takes more CPU time for a small packet than two data planes do.
 *
 *   bun bench/flood.ts '{"size":64,"local":"10.67.0.1","remote":"10.67.0.2"}'     receives until SIGTERM
 *   bun bench/flood.ts '{"size":64,"rate":1e5,"seconds":2, ...}'                  sends
 *
 * Whoever receives says "ready" first. At its end each says how many: "datagrams N".
 */
import {
  Arena,
  monotonicMilliseconds,
  openUdpSocket,
  POLLIN,
  Poll,
  pauseMicroseconds,
  ReceiveBatch,
  SendBatch,
} from "../src/linux/index.ts"

export interface FloodOptions {
  /** Bytes of UDP payload. */
  readonly size: number
  readonly local: string
  readonly remote: string
  /** Datagrams per second; without it they are received. */
  readonly rate?: number
  readonly seconds?: number
}

function send(fd: number, size: number, rate: number, seconds: number): number {
  const arena = new Arena(64 * 1024)
  const batch = new SendBatch(arena, BATCH, arena.allocate(size))
  for (let i = 0; i < BATCH; i++) batch.set(i, 0, size, 0)
  const begin = monotonicMilliseconds()
  const end = begin + seconds * 1000
  let due = 0
  let sent = 0
  for (let now = begin; now < end; now = monotonicMilliseconds()) {
    const total = ((now - begin) * rate) / 1000
    while (due < total) {
      const count = Math.min(BATCH, Math.ceil(total - due))
      due += count
      // What the socket does not take now is not sent: the tunnel's queue is full.
      sent += Math.max(0, batch.send(fd, 0, count))
    }
    pauseMicroseconds(PAUSE)
  }
  return sent
}

async function receive(fd: number, size: number): Promise<number> {
  const arena = new Arena(1024 * 1024)
  const batch = new ReceiveBatch(arena, BATCH, size)
  const poll = new Poll(1, arena)
  poll.set(0, fd, POLLIN)
  let isOver = false
  process.on("SIGTERM", () => {
    isOver = true
  })
  console.log("ready")
  let received = 0
  while (!isOver) {
    if (poll.wait(PATIENCE) > 0) for (let more = batch.receive(fd); more > 0; more = batch.receive(fd)) received += more
    // A signal is only seen between two events.
    await new Promise(setImmediate)
  }
  return received
}

const BATCH = 64
const PORT = 5300
/** Microseconds. */
const PAUSE = 250
/** ms */
const PATIENCE = 50
/** Bytes: whoever counts may get the processor late. */
const BUFFER = 32 * 1024 * 1024

if (import.meta.main) {
  const { size, local, remote, rate, seconds = 1 } = JSON.parse(process.argv[2]!) as FloodOptions
  const own = { address: local, port: PORT }
  const fd = openUdpSocket({ family: 4, address: remote, port: PORT, local: own, receiveBuffer: BUFFER })
  console.log(`datagrams ${rate === undefined ? await receive(fd, size) : send(fd, size, rate, seconds)}`)
  process.exit(0)
}
