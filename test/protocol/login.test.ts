/** What the client logs in with, from session to session: password, token, challenges. */
import { describe, expect, test } from "bun:test"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { Login } from "../../src/protocol/index.ts"
import { anna, Pair, pushReply } from "./pair.ts"

/** The username and password of each key exchange. */
const logins = ({ server }: Pair) => server.introductions.map(({ username, password }) => [username, password])

const renegotiated = (pair: Pair) => {
  const keys = pair.server.introductions.length
  pair.client.session.renegotiate(pair.now)
  expect(pair.network.run(() => pair.server.introductions.length > keys, 10_000)).toBe(true)
  pair.network.pass(1000)
  return pair
}

describe("a token", () => {
  const push = [`${pushReply},auth-token SESS_ID_1`]

  test("takes the place of the password at a renegotiation, and in the next session", () => {
    const login = anna()
    const pair = renegotiated(new Pair({ client: { login }, server: { push } }).connect())
    expect(logins(pair)).toEqual([
      ["anna", "s3cret"],
      ["anna", "SESS_ID_1"],
    ])
    expect(logins(new Pair({ client: { login } }).connect())).toEqual([["anna", "SESS_ID_1"]])
  })

  test("may come with another user name", () => {
    const login = anna()
    new Pair({ client: { login }, server: { push: [`${push[0]},auth-token-user em/Dqw==`] } }).connect()
    expect(logins(new Pair({ client: { login } }).connect())).toEqual([["zoë", "SESS_ID_1"]])
  })

  test("is replaced by that of a later PUSH_REPLY, whose other options have no effect", () => {
    const pair = new Pair({ server: { push } }).connect()
    pair.server.say(pair.now, "PUSH_REPLY,auth-token SESS_ID_2,ifconfig 10.9.9.9 255.255.255.0")
    pair.network.pass(100)
    expect(logins(renegotiated(pair)).at(-1)).toEqual(["anna", "SESS_ID_2"])
    expect(pair.client.of("pushed")).toHaveLength(1)
  })

  test("that the server refuses gives way to the password, once", () => {
    const login = anna()
    new Pair({ client: { login }, server: { push } }).connect()
    const second = new Pair({ client: { login }, server: { push: ["AUTH_FAILED,SESSION: expired"] } })
    expect(second.end()).toMatchObject({ tag: "AuthFailed", again: true })
    const third = new Pair({ client: { login }, server: { push: ["AUTH_FAILED"] } })
    expect(third.end()).toMatchObject({ tag: "AuthFailed", again: false })
    expect([...logins(second), ...logins(third)]).toEqual([
      ["anna", "SESS_ID_1"],
      ["anna", "s3cret"],
    ])
  })

  test.each([
    ["RESTART,now", "s3cret"],
    ["RESTART,[P]now", "SESS_ID_1"],
    ["EXIT", "SESS_ID_1"],
  ])("after %s the next login has %s", (message, password) => {
    const login = anna()
    const pair = new Pair({ client: { login }, server: { push } }).connect()
    pair.server.say(pair.now, message)
    pair.end()
    expect(logins(new Pair({ client: { login } }).connect())).toEqual([["anna", password]])
  })

  test("survives a refusal for the time being", () => {
    const login = anna()
    new Pair({ client: { login }, server: { push } }).connect()
    expect(new Pair({ client: { login }, server: { push: ["AUTH_FAILED,TEMP"] } }).end()).toMatchObject({
      temporary: true,
    })
    expect(logins(new Pair({ client: { login } }).connect())).toEqual([["anna", "SESS_ID_1"]])
  })

  test("is in no output", () => {
    const pair = new Pair({ server: { push } }).connect()
    pair.server.say(pair.now, "PUSH_REPLY,auth-token SESS_ID_1")
    pair.network.pass(100)
    expect(JSON.stringify(pair.client.outputs)).not.toContain("SESS_ID_1")
  })
})

describe("a static challenge", () => {
  test("sends password and code together, each in base64", () => {
    const pair = new Pair({ client: { login: anna({ code: "123456" }, "scrv1") } }).connect()
    expect(logins(pair)).toEqual([["anna", "SCRV1:czNjcmV0:MTIzNDU2"]])
  })

  test("sends them one after the other with concat", () => {
    const pair = new Pair({ client: { login: anna({ code: "123456" }, "concat") } }).connect()
    expect(logins(pair)).toEqual([["anna", "s3cret123456"]])
  })

  test("without a code sends nothing and says what is missing", () => {
    const pair = new Pair({ client: { login: anna({}, "scrv1") } })
    expect(pair.end()).toMatchObject({ tag: "TlsFailed", message: expect.stringContaining("one-time code") })
    expect(pair.server.introductions).toEqual([])
  })
})

describe("a dynamic challenge", () => {
  const push = ["AUTH_FAILED,CRV1:R,E:state-1:YW5uYQ==:Which code?"]

  test("is answered in the next session, for the user and the state it names", () => {
    const login = anna({ code: "4711" })
    expect(new Pair({ client: { login }, server: { push } }).end()).toMatchObject({
      again: true,
      message: "the server asks for a one-time code: Which code?",
    })
    expect(logins(new Pair({ client: { login } }).connect())).toEqual([["anna", "CRV1::state-1::4711"]])
    expect(logins(new Pair({ client: { login } }).connect())).toEqual([["anna", "s3cret"]])
  })

  test("without a code is a refusal that says what is missing", () => {
    expect(new Pair({ server: { push } }).end()).toMatchObject({
      again: false,
      message: "the server asks for a one-time code, and there is no (new) one: Which code?",
    })
  })

  test("is not answered with a code that was refused, until there is another", () => {
    const own = { code: "4711" }
    const login = anna(own)
    const challenged = () => new Pair({ client: { login }, server: { push } }).end()
    expect(challenged()).toMatchObject({ again: true })
    expect(new Pair({ client: { login }, server: { push: ["AUTH_FAILED"] } }).end()).toMatchObject({ again: false })
    expect(challenged()).toMatchObject({ again: false })
    own.code = "4712"
    expect(challenged()).toMatchObject({ again: true })
  })

  test("may be answered with the same code again once it was accepted", () => {
    const login = anna({ code: "push" })
    for (let round = 0; round < 3; round++) {
      expect(new Pair({ client: { login }, server: { push } }).end()).toMatchObject({ again: true })
      new Pair({ client: { login } }).connect()
    }
  })
})

describe("a question in mid-login", () => {
  const ask = ["AUTH_PENDING,timeout 40", "INFO_PRE,CR_TEXT:R:The code"]

  test("is answered with the code, and the client announced that it can", () => {
    const pair = new Pair({ client: { login: anna({ code: "4711" }) }, server: { push: ask } })
    pair.network.pass(3000)
    expect(pair.server.introductions[0]!.peerInfo).toContain("IV_SSO=crtext\n")
    expect(pair.server.messages.filter((text) => text !== "PUSH_REQUEST")).toEqual(["CR_RESPONSE,NDcxMQ=="])
  })

  test("waits for the code, until the server's patience ends", () => {
    const own: { code?: string } = {}
    const pair = new Pair({ client: { login: anna(own) }, server: { push: ask } })
    pair.network.pass(12_000)
    expect(pair.server.messages).not.toContain("CR_RESPONSE,NDcxMQ==")
    own.code = "4711"
    pair.network.pass(6000)
    expect(pair.server.messages).toContain("CR_RESPONSE,NDcxMQ==")
    expect(pair.end()).toMatchObject({ tag: "NoPushReply" })
  })

  test("that wants no answer gets none", () => {
    const push = ["AUTH_PENDING,timeout 40", "INFO_PRE,CR_TEXT:E:Welcome"]
    const pair = new Pair({ client: { login: anna({ code: "4711" }) }, server: { push } })
    pair.network.pass(12_000)
    expect(new Set(pair.server.messages)).toEqual(new Set(["PUSH_REQUEST"]))
  })
})

describe("after a refusal another code is", () => {
  const refused = (login: Login, push: ReadonlyArray<string> = ["AUTH_FAILED"]) =>
    new Pair({ client: { login }, server: { push } }).end()

  test("one that a static challenge has not sent yet", () => {
    const own: { code?: string } = { code: "1" }
    const login = anna(own, "scrv1")
    refused(login)
    expect(login.hasOtherCode).toBe(false)
    own.code = "2"
    expect(login.hasOtherCode).toBe(true)
  })

  test("one that answers a dynamic challenge, which had no answer or a wrong one", () => {
    const challenge = ["AUTH_FAILED,CRV1:R,E:state-1:YW5uYQ==:Which code?"]
    const own: { code?: string } = {}
    const login = anna(own)
    refused(login, challenge)
    expect(login.hasOtherCode).toBe(false)
    own.code = "1"
    expect(login.hasOtherCode).toBe(true)
    refused(login, challenge)
    refused(login)
    expect(login.hasOtherCode).toBe(false)
    own.code = "2"
    expect(login.hasOtherCode).toBe(true)
  })

  test("one that a question in mid-login has not been answered with", () => {
    const own = { code: "1" }
    const login = anna(own)
    refused(login, ["AUTH_PENDING,timeout 40", "INFO_PRE,CR_TEXT:R:The code", "AUTH_FAILED"])
    expect(login.hasOtherCode).toBe(false)
    own.code = "2"
    expect(login.hasOtherCode).toBe(true)
  })

  test("none, when the server never asked for one", () => {
    const login = anna({ code: "1" })
    refused(login)
    expect(login.hasOtherCode).toBe(false)
  })
})

test("credentials that have gone missing end the negotiation, not the login", () => {
  const login = new Login({ read: () => Result.fail("no file username"), staticChallenge: undefined })
  expect(login.missing).toBe("no file username")
  expect(new Pair({ client: { login } }).end()).toMatchObject({
    tag: "TlsFailed",
    message: expect.stringContaining("no file username"),
  })
  login.adopt(Redacted.make("token"), "anna")
  expect(login.missing).toBeUndefined()
})
