/** What a server may say to end a session, and what follows from each: which server next, after how long, with which login. */
import { describe, expect, test } from "bun:test"
import type { CloseReason } from "../../src/protocol/index.ts"
import { anna, Pair, pushReply } from "./pair.ts"

type Ending = readonly [message: string, reason: Partial<CloseReason>, text: string]

const refusals: ReadonlyArray<Ending> = [
  ["AUTH_FAILED", { tag: "AuthFailed", retry: "same", temporary: false, again: false }, "authentication failed"],
  ["AUTH_FAILED,no more logins", { tag: "AuthFailed", temporary: false }, "authentication failed: no more logins"],
  ["AUTH_FAILED,TEMP", { tag: "AuthFailed", retry: "same", temporary: true }, "authentication failed for now"],
  ["AUTH_FAILED,TEMP:busy", { temporary: true, retry: "same" }, "authentication failed for now: busy"],
  ["AUTH_FAILED,TEMP[backoff 42]:busy", { temporary: true, backoffSeconds: 42, retry: "same" }, ": busy"],
  ["AUTH_FAILED,TEMP[advance no]", { temporary: true, retry: "same" }, "for now"],
  ["AUTH_FAILED,TEMP[advance addr]", { temporary: true, retry: "advance" }, "for now"],
  ["AUTH_FAILED,TEMP[backoff 3,advance remote]:full", { backoffSeconds: 3, retry: "advanceRemote" }, ": full"],
  ["AUTH_FAILED,CRV1:R,E:s:YW5uYQ==:Code?", { tag: "AuthFailed", again: false }, "no (new) one: Code?"],
]

const farewells: ReadonlyArray<Ending> = [
  ["RESTART", { tag: "ServerRestart", retry: "same" }, "the server asks for a restart"],
  ["RESTART,[P]new version", { tag: "ServerRestart", retry: "same" }, "restart: new version"],
  ["RESTART,[N]", { tag: "ServerRestart", retry: "advanceRemote" }, "restart"],
  ["RESTART,[P,N]move", { tag: "ServerRestart", retry: "advanceRemote" }, "restart: move"],
  ["HALT", { tag: "ServerHalt", retry: "never" }, "the server asks to stop"],
  ["HALT,[P]enough", { tag: "ServerHalt", retry: "never" }, "stop: enough"],
  ["EXIT", { tag: "ServerExit", retry: "same" }, "the server exits"],
]

describe("instead of the configuration", () => {
  test.each([...refusals, ...farewells])("%s", (message, reason, text) => {
    const end = new Pair({ server: { push: [message] } }).end()
    expect(end).toMatchObject(reason)
    expect(end.message).toContain(text)
  })
})

describe("in the middle of a session", () => {
  test.each([...refusals, ...farewells])("%s", (message, reason, text) => {
    const pair = new Pair().connect()
    pair.server.say(pair.now, message)
    const end = pair.end()
    expect(end).toMatchObject(reason)
    expect(end.message).toContain(text)
  })
})

describe("which login comes next", () => {
  test.each([
    ["RESTART", "s3cret"],
    ["RESTART,[N]", "s3cret"],
    ["RESTART,[P]", "TOKEN"],
    ["RESTART,[N,P]", "TOKEN"],
    ["HALT", "s3cret"],
    ["HALT,[P]", "TOKEN"],
    ["EXIT", "TOKEN"],
    ["AUTH_FAILED", "s3cret"],
    ["AUTH_FAILED,SESSION: token expired", "s3cret"],
    ["AUTH_FAILED,TEMP[backoff 1]", "TOKEN"],
  ])("after %s", (message, password) => {
    const login = anna()
    new Pair({ client: { login }, server: { push: [`${pushReply},auth-token TOKEN`] } }).connect()
    const pair = new Pair({ client: { login } }).connect()
    pair.server.say(pair.now, message)
    pair.end()
    const next = new Pair({ client: { login } }).connect()
    expect(next.server.introductions[0]!.password).toBe(password)
  })
})

describe("what ends nothing", () => {
  test.each(["INFO,hello", "INFO_PRE,hello", "AUTH_PENDING", "ECHO,x", "PUSH_REPLY", "RESTARTED", "HALTED,x"])(
    "%s",
    (message) => {
      const pair = new Pair().connect()
      pair.server.say(pair.now, message)
      pair.network.pass(60_000)
      expect(pair.client.closed).toBeUndefined()
    },
  )
})
