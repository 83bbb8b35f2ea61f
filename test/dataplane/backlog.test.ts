import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { Backlog } from "../../src/dataplane/backlog.ts"
import { closeFd, openUdpSocket, receiveBufferOf } from "../../src/linux/index.ts"

const LARGE = 1024 * 1024
const SMALL = 208 * 1024
const A_LOT = 600 * 1024

let now = 5000
let fd = -1
const backlog = new Backlog(() => now)

beforeEach(() => {
  fd = openUdpSocket({ family: 4, address: "127.0.0.1", port: 9, receiveBuffer: LARGE })
  backlog.open(fd, false)
})
afterEach(() => closeFd(fd))

/** `count` times `bytes` are found, `interval` ms apart; between two of them the socket is empty, or not. */
function found(count: number, bytes: number, interval: number, isAll = true): void {
  for (let i = 0; i < count; i++) {
    now += interval
    backlog.found(bytes, isAll)
  }
}

describe("the buffer is small", () => {
  test("when a lot is found again and again", () => {
    found(10, A_LOT, 4)
    expect(receiveBufferOf(fd)).toBe(SMALL)
  })

  test("when a lot is there all the time", () => {
    found(300, 45_000, 1, false)
    expect(receiveBufferOf(fd)).toBe(SMALL)
  })

  test("for two seconds", () => {
    found(10, A_LOT, 4)
    found(19, 1000, 100)
    expect(receiveBufferOf(fd)).toBe(SMALL)
    found(2, 1000, 100)
    expect(receiveBufferOf(fd)).toBe(LARGE)
  })

  test("on one link's account only", () => {
    found(10, A_LOT, 4)
    closeFd(fd)
    fd = openUdpSocket({ family: 4, address: "127.0.0.1", port: 9, receiveBuffer: LARGE })
    backlog.open(fd, false)
    found(3, 1000, 1000)
    expect(receiveBufferOf(fd)).toBe(LARGE)
  })
})

describe("the buffer stays large", () => {
  afterEach(() => expect(receiveBufferOf(fd)).toBe(LARGE))

  test("under a dense stream that is carried", () => found(5000, 100_000, 0.2))
  test("when the processor is away once in 100 ms, and what came meanwhile takes a while", () => {
    for (let i = 0; i < 20; i++) {
      now += 50
      found(100, 45_000, 0.3, false)
      found(20, 45_000, 1)
    }
  })
  test("when that is somebody's wish", () => {
    backlog.open(fd, true)
    found(10, A_LOT, 4)
  })
  test("when it becomes somebody's wish", () => {
    backlog.keep()
    found(10, A_LOT, 4)
  })
})

test("a buffer that is small anyway stays as it is", () => {
  closeFd(fd)
  fd = openUdpSocket({ family: 4, address: "127.0.0.1", port: 9, receiveBuffer: 64 * 1024 })
  backlog.open(fd, false)
  found(10, A_LOT, 4)
  expect(receiveBufferOf(fd)).toBe(64 * 1024)
})
