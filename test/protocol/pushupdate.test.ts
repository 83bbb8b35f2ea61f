/** PUSH_UPDATE: the server changes what it pushed, and the connection stays. */
import { describe, expect, test } from "bun:test"
import { Pair, pushReply } from "./pair.ts"

const connected = () => new Pair({ server: { push: [`${pushReply},route 10.1.0.0 255.255.0.0`] } }).connect()

const updated = (pair: Pair, ...messages: ReadonlyArray<string>) => {
  pair.server.say(pair.now, ...messages)
  pair.network.pass(100)
  return pair.client.of("pushUpdated").map(({ options }) => options.network.routes.map(({ network }) => network))
}

describe("a PUSH_UPDATE", () => {
  test("gives all that holds then: what it names is new, the rest as it was", () => {
    const pair = connected()
    expect(updated(pair, "PUSH_UPDATE,route 10.2.0.0 255.255.0.0,route 10.3.0.0 255.255.0.0")).toEqual([
      ["10.2.0.0", "10.3.0.0"],
    ])
    expect(pair.client.of("pushUpdated")[0]!.options.network.ifconfig).toEqual({
      local: "10.8.0.2",
      second: "255.255.255.0",
    })
    expect(pair.client.closed).toBeUndefined()
    expect(updated(pair, "PUSH_UPDATE,-route").at(-1)).toEqual([])
  })

  test("in several parts counts when it is complete", () => {
    const pair = connected()
    expect(updated(pair, "PUSH_UPDATE,route 10.2.0.0 255.255.0.0,push-continuation 2")).toEqual([])
    expect(updated(pair, "PUSH_UPDATE,route 10.3.0.0 255.255.0.0,push-continuation 1")).toEqual([
      ["10.2.0.0", "10.3.0.0"],
    ])
  })

  test("of what cannot be changed makes the connection start anew, unless it is optional", () => {
    const pair = connected()
    expect(updated(pair, "PUSH_UPDATE,?cipher AES-128-GCM,route 10.2.0.0 255.255.0.0")).toEqual([["10.2.0.0"]])
    pair.server.say(pair.now, "PUSH_UPDATE,cipher AES-128-GCM")
    expect(pair.end()).toMatchObject({ tag: "ServerRestart", retry: "same" })
  })

  test("before the push has no effect", () => {
    const pair = new Pair({ server: { push: ["PUSH_UPDATE,route 10.2.0.0 255.255.0.0", pushReply] } })
    expect(pair.connect().client.of("pushUpdated")).toEqual([])
  })

  test("without end is refused", () => {
    const pair = connected()
    for (let part = 0; part < 150; part++)
      pair.server.say(pair.now, `PUSH_UPDATE,${"route 10.0.0.0,".repeat(130)}push-continuation 2`)
    expect(pair.end()).toMatchObject({ tag: "PushRefused" })
  })
})
