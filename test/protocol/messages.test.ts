/** Key method 2, the strings it carries, and control messages. */
import { describe, expect, test } from "bun:test"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { concat, u16 } from "../../src/protocol/bytes.ts"
import { ControlText, parseServerMessage } from "../../src/protocol/control.ts"
import {
  buildKeyMethod2,
  type KeyMethod2,
  newKeySource,
  parseKeyMethod2,
  type Role,
} from "../../src/protocol/keymethod2.ts"
import { optionsField, optionsString, peerInfo } from "../../src/protocol/options.ts"
import { forEachSeed, SeededRandom } from "../support/network.ts"
import { tlsAuth } from "./pair.ts"

const text = (value: string) => new TextEncoder().encode(value)
const message = (role: Role): KeyMethod2 => ({
  source: newKeySource(new SeededRandom(1), role),
  options: "V4,tls-server",
  username: "anna",
  password: "pässword",
  peerInfo: "IV_VER=1\n",
})
const built = (role: Role) => Result.getOrThrow(buildKeyMethod2(message(role)))

describe("a key method 2 message", () => {
  test("has the client's layout: zero, method, pre-master, randoms, strings with length and NUL", () => {
    const bytes = built("client")
    const { source } = message("client")
    expect(bytes.subarray(0, 5).toHex()).toBe("0000000002")
    expect(bytes.subarray(5, 117)).toEqual(concat(source.preMaster!, source.random1, source.random2))
    expect(bytes.subarray(117, 133)).toEqual(concat(u16(14), text("V4,tls-server\0")))
    expect(bytes.length).toBe(133 + 7 + 12 + 12)
  })

  for (const role of ["client", "server"] as const)
    test(`of the ${role} is parsed back, and what follows is left`, () => {
      const bytes = concat(built(role), text("PUSH_REPLY,ping 1\0"))
      expect(Result.getOrThrow(parseKeyMethod2(bytes, role))).toEqual({
        message: message(role),
        rest: text("PUSH_REPLY,ping 1\0"),
      })
    })

  test("may lack what comes after the options, and strings may be a lone NUL", () => {
    const bare = { ...message("server"), username: "", password: "", peerInfo: "" }
    const full = Result.getOrThrow(buildKeyMethod2(bare))
    for (const missing of [2, 4, 6])
      expect(Result.getOrThrow(parseKeyMethod2(full.subarray(0, full.length - missing), "server")).message).toEqual(
        bare,
      )
    const nul = concat(full.subarray(0, full.length - 6), u16(1), Uint8Array.of(0))
    expect(Result.getOrThrow(parseKeyMethod2(nul, "server")).message).toEqual(bare)
  })

  test("that is cut off before the end of the options is incomplete, never more and never an exception", () => {
    const bytes = built("server")
    const optionsEnd = 5 + 64 + 2 + 14
    for (let length = 0; length < bytes.length; length++) {
      const parsed = parseKeyMethod2(bytes.subarray(0, length), "server")
      expect(Result.isFailure(parsed) && parsed.failure.incomplete).toBe(length < optionsEnd)
    }
  })

  test("with another key method, without zero, with too long options or beyond 2048 bytes is malformed", () => {
    const reason = (bytes: Uint8Array) => {
      const parsed = parseKeyMethod2(bytes, "server")
      return Result.isFailure(parsed) && !parsed.failure.incomplete ? parsed.failure.message : undefined
    }
    const altered = (offset: number, ...values: ReadonlyArray<number>) => {
      const bytes = built("server")
      bytes.set(values, offset)
      return bytes
    }
    expect(reason(altered(4, 1))).toBe("key method 1, expected 2")
    expect(reason(altered(0, 1))).toBe("does not begin with zero")
    expect(reason(altered(69, 2, 1))).toBe("options string exceeds 512 bytes")
    expect(reason(new Uint8Array(2049))).toBe("more than 2048 bytes")
  })

  test("is not built when a part is too long or contains NUL, and the reason has no secret", () => {
    const reason = (change: Partial<KeyMethod2>) => {
      const result = buildKeyMethod2({ ...message("client"), ...change })
      return Result.isFailure(result) ? result.failure : ""
    }
    expect(reason({ password: "hidden".repeat(400) })).toBe(
      "username, password and peer info do not fit into 2048 bytes",
    )
    expect(reason({ options: "x".repeat(512) })).toBe("the options string exceeds 512 bytes")
    expect(reason({ password: "hid\0den" })).toBe("username, password or peer info contains NUL")
  })

  test("of random bytes is a value", () => {
    forEachSeed(500, (seed) => {
      const random = new SeededRandom(seed)
      const bytes = concat(Uint8Array.of(0, 0, 0, 0, 2), random.bytes(random.below(400)))
      parseKeyMethod2(bytes, seed % 2 === 0 ? "client" : "server")
    })
  })
})

describe("the options string", () => {
  const facts = {
    deviceType: "tun",
    transport: "udp",
    tunMtu: 1500,
    auth: "SHA1",
    dataCiphers: ["AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305", "AES-192-CBC"],
    wrapping: { _tag: "Plain" },
    compression: undefined,
  } as const

  test("is OpenVPN 2.6's, with tls-auth and its direction", () => {
    expect(optionsString({ ...facts, wrapping: tlsAuth(1) })).toBe(
      "V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,keydir 1,auth SHA1,keysize 128,tls-auth,key-method 2,tls-client",
    )
    expect(optionsString({ ...facts, transport: "tcp", auth: "SHA256" })).toContain(
      "link-mtu 1555,tun-mtu 1500,proto TCPv4_CLIENT",
    )
  })

  test("of a tap device has 32 bytes more for frames", () => {
    expect(optionsString({ ...facts, deviceType: "tap", tunMtu: 1400 })).toStartWith(
      "V4,dev-type tap,link-mtu 1473,tun-mtu 1400,",
    )
  })

  test.each([
    ["AES-256-GCM", {}, "link-mtu 1549,tun-mtu 1500,proto UDPv4,cipher AES-256-GCM,auth [null-digest],keysize 256,"],
    ["CHACHA20-POLY1305", {}, "link-mtu 1534,tun-mtu 1500,proto UDPv4,cipher CHACHA20-POLY1305,auth [null-digest],"],
    ["AES-256-CBC", {}, "link-mtu 1557,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 256,"],
    [
      "AES-192-CBC",
      { auth: "SHA512", transport: "tcp", compression: { framing: "lzo-off", allow: "no" } },
      "link-mtu 1604,tun-mtu 1500,proto TCPv4_CLIENT,comp-lzo,cipher AES-192-CBC,auth SHA512,keysize 192,",
    ],
    ["AES-256-CBC", { deviceType: "tap" }, "link-mtu 1589,"],
  ] as const)("with cipher %s in the file is what 2.6.14 prints", (cipher, others, expected) => {
    expect(optionsString({ ...facts, ...others, cipher })).toContain(expected)
  })

  test("fields are found by their whole name", () => {
    const options = "V4,cipher AES-256-GCM,tls-auth,keysize 256"
    expect(optionsField(options, "cipher")).toBe("AES-256-GCM")
    expect(optionsField(options, "tls-auth")).toBe("")
    expect(optionsField(options, "key")).toBeUndefined()
  })
})

describe("the peer info", () => {
  const facts = {
    versions: {
      version: "1",
      platform: "linux",
      platformVersion: "6.1",
      ssl: "OpenSSL 3",
      hardwareAddress: "02:00:00:00:00:01",
    },
    dataCiphers: ["AES-256-GCM"],
    pull: true,
    tunMtu: 1500,
    answersQuestions: false,
    compression: undefined,
    variables: [
      ["UV_ROOM", "a\nIV_PROTO=2"],
      ["IV_SSO", "webauth"],
      ["IV_VER", "forged"],
      ["HOME", "/root"],
    ],
  } as const

  test("tells UV_ variables and details only with push-peer-info, and lets none forge a line", () => {
    expect(peerInfo({ ...facts, push: false })).toBe(
      "IV_VER=1\nIV_PLAT=linux\nIV_TCPNL=1\nIV_MTU=1600\nIV_CIPHERS=AES-256-GCM\nIV_PROTO=8094\nIV_LZO_STUB=1\nIV_COMP_STUB=1\nIV_COMP_STUBv2=1\nIV_SSO=webauth\n",
    )
    expect(peerInfo({ ...facts, push: true })).toBe(
      "IV_VER=1\nIV_PLAT=linux\nIV_TCPNL=1\nIV_MTU=1600\nIV_CIPHERS=AES-256-GCM\nIV_PROTO=8094\nIV_LZO_STUB=1\nIV_COMP_STUB=1\nIV_COMP_STUBv2=1\n" +
        "IV_HWADDR=02:00:00:00:00:01\nIV_SSL=OpenSSL 3\nIV_PLAT_VER=6.1\nUV_ROOM=a_IV_PROTO=2\nIV_SSO=webauth\n",
    )
  })

  test("announces decompression where the file allows it", () => {
    const compression = { framing: "lz4-v2", allow: "asym" } as const
    expect(peerInfo({ ...facts, push: false, compression })).toContain(
      "IV_LZ4=1\nIV_LZ4v2=1\nIV_LZO=1\nIV_COMP_STUB=1\n",
    )
  })

  test("without pull is what has to be settled, and all of it with push-peer-info", () => {
    expect(peerInfo({ ...facts, push: false, pull: false })).toBe("IV_CIPHERS=AES-256-GCM\nIV_PROTO=682\n")
    expect(peerInfo({ ...facts, push: true, pull: false })).toContain("IV_PLAT_VER=6.1\nUV_ROOM=a_IV_PROTO=2\n")
  })

  test("says crtext where a code is at hand", () => {
    expect(peerInfo({ ...facts, push: false, answersQuestions: true })).toContain("IV_SSO=crtext\n")
  })
})

describe("control text", () => {
  test("is split at NUL, whatever the records, and loses trailing line ends", () => {
    const stream = new ControlText()
    expect(stream.push(text("EXIT\r\n\0\0INFO,a"))).toEqual({ messages: ["EXIT"], refused: 0 })
    expect(stream.push(text("b\0PUSH"))).toEqual({ messages: ["INFO,ab"], refused: 0 })
  })

  test("keeps 2048 bytes at most", () => {
    const stream = new ControlText()
    expect(stream.push(text("x".repeat(2048)))).toEqual({ messages: [], refused: 0 })
    expect(stream.push(text("x"))).toEqual({ messages: [], refused: 1 })
    expect(stream.push(text("y".repeat(5000)))).toEqual({ messages: [], refused: 0 })
    expect(stream.push(text("\0EXIT\0"))).toEqual({ messages: ["EXIT"], refused: 0 })
  })

  test("with characters that are not printable is refused", () => {
    const { messages, refused } = new ControlText().push(text("INFO,\x1b[2J\0INFO,é\0INFO,~ \0"))
    expect({ messages, refused }).toEqual({ messages: ["INFO,~ "], refused: 2 })
  })
})

describe("server messages", () => {
  const cases: ReadonlyArray<readonly [string, ReturnType<typeof parseServerMessage>]> = [
    ["PUSH_REPLY", { type: "pushReply", options: "", more: false }],
    ["PUSH_REPLY,a 1,b", { type: "pushReply", options: "a 1,b", more: false }],
    ["PUSH_REPLY,a,push-continuation 2", { type: "pushReply", options: "a", more: true }],
    ["PUSH_REPLY,a,push-continuation 1", { type: "pushReply", options: "a", more: false }],
    ["PUSH_REPLY,push-continuation 2", { type: "pushReply", options: "", more: true }],
    ["PUSH_REPLY,push-continuation 2,a", { type: "pushReply", options: "push-continuation 2,a", more: false }],
    ["AUTH_PENDING", { type: "authPending", timeoutSeconds: undefined }],
    ["AUTH_PENDING,timeout 30", { type: "authPending", timeoutSeconds: 30 }],
    ["AUTH_PENDING,timeout soon", { type: "authPending", timeoutSeconds: undefined }],
    ["INFO,a,b", { type: "info", text: "a,b" }],
    ["RESTART,[P,N]see you", { type: "restart", text: "see you", advance: true, keepLogin: true }],
    ["RESTART,see you", { type: "restart", text: "see you", advance: false, keepLogin: false }],
    ["INFO_PRE,CR_TEXT:R,E:The code: please", { type: "question", text: "The code: please", answer: true }],
    ["INFO_PRE,CR_TEXT:E:Good morning", { type: "question", text: "Good morning", answer: false }],
    ["INFO,OPEN_URL:https://vpn.example/", { type: "info", text: "OPEN_URL:https://vpn.example/" }],
    ["HALT", { type: "halt", text: "", keepLogin: false }],
    ["HALT,[P]enough", { type: "halt", text: "enough", keepLogin: true }],
    ["EXIT", { type: "exit" }],
    ["EXITUS", { type: "unknown", name: "EXITUS" }],
    ["TOKEN,secret", { type: "unknown", name: "TOKEN" }],
  ]
  for (const [line, expected] of cases)
    test(line, () => {
      expect(parseServerMessage(line)).toEqual(expected)
    })

  const failures = [
    ["AUTH_FAILED", false, undefined, "no", ""],
    ["AUTH_FAILED,bad password, sorry", false, undefined, "no", "bad password, sorry"],
    ["AUTH_FAILED,CRV1:R,E:c2VjcmV0:not base64", false, undefined, "no", "a challenge that cannot be read"],
    ["AUTH_FAILED,TEMP", true, undefined, "no", ""],
    ["AUTH_FAILED,TEMP:later", true, undefined, "no", "later"],
    ["AUTH_FAILED,TEMP[backoff 5]:later", true, 5, "no", "later"],
    ["AUTH_FAILED,TEMP[advance addr, backoff 7]", true, 7, "addr", ""],
    ["AUTH_FAILED,TEMP[backoff x,advance nowhere]:", true, undefined, "no", ""],
  ] as const
  for (const [line, temporary, backoffSeconds, advance, reason] of failures)
    test(line, () => {
      expect(parseServerMessage(line)).toEqual({
        type: "authFailed",
        failure: { temporary, backoffSeconds, advance, reason, challenge: undefined },
      })
    })

  test("AUTH_FAILED,CRV1 has a challenge, whose state is a secret", () => {
    const message = parseServerMessage("AUTH_FAILED,CRV1:R,E:om01u7Fh4LrGBS7:YW5uYQ==:Enter code: now")
    expect(message).toMatchObject({ failure: { reason: "Enter code: now", challenge: { username: "anna" } } })
    expect(JSON.stringify(message)).not.toContain("om01u7Fh4LrGBS7")
    expect(message.type === "authFailed" && Redacted.value(message.failure.challenge!.state)).toBe("om01u7Fh4LrGBS7")
  })
})
