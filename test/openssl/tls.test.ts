import { afterAll, describe, expect, test } from "bun:test"
import { type PeerCertificate, type TlsConnection, TlsContext, type TlsOptions } from "../../src/openssl/index.ts"
import type { Tls, PeerCertificate as TlsPeer, TlsConnection as TlsPort, TlsState } from "../../src/protocol/ports.ts"
import { Authority, CLIENT, SERVER } from "./authority.ts"
import { carry, exchange, received } from "./exchange.ts"

const authority = new Authority()
const stranger = new Authority("ec", "/CN=Another Authority")
const server = authority.issue("server", "ec", SERVER)
const rsaServer = authority.issue("rsa", "rsa", SERVER)
const client = authority.issue("client", "ec", CLIENT)
const edClient = authority.issue("edwards", "ed25519", CLIENT)

const contexts: Array<TlsContext> = []
const connections: Array<TlsConnection> = []
afterAll(() => {
  for (const connection of connections) connection.free()
  for (const context of contexts) context.free()
  authority.remove()
  stranger.remove()
})

const anyone = () => undefined
const defaults: TlsOptions = {
  ca: authority.certificate,
  certificate: undefined,
  key: undefined,
  minimum: "1.2",
  certProfile: "legacy",
  verify: anyone,
}

function context(options: Partial<TlsOptions>): TlsContext {
  const made = TlsContext.create({ ...defaults, ...options })
  contexts.push(made)
  return made
}

function connection(made: TlsConnection): TlsConnection {
  connections.push(made)
  return made
}

/** A client and a server that have not exchanged a byte. */
function pair(clientOptions: Partial<TlsOptions>, serverOptions: Partial<TlsOptions> = {}) {
  return {
    client: connection(context(clientOptions).connect()),
    server: connection(context({ ...server, ...serverOptions }).accept()),
  }
}

function failure(state: TlsState): { message: string; check: string | undefined } {
  if (state.tag !== "failed") throw new Error(`the connection is ${state.tag}, not failed`)
  return { message: state.message, check: state.check }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const bytes = (content: string) => new TextEncoder().encode(content)
/** Type byte of each record in a flight. */
function recordTypes(flight: Uint8Array): Array<number> {
  const types: Array<number> = []
  for (let at = 0; at < flight.length; at += 5 + ((flight[at + 3]! << 8) | flight[at + 4]!)) types.push(flight[at]!)
  return types
}
const ALERT = 21

test("a context, a connection and what they tell are the ports of the protocol", () => {
  const tls: Tls = context({})
  const port: TlsPort = connection(context({}).connect())
  expect(tls.connect().state).toEqual({ tag: "handshaking" } satisfies TlsState)
  // Both directions: neither declaration knows a field that the other lacks.
  const there = (peer: PeerCertificate): Required<TlsPeer> => peer
  const back = (peer: TlsPeer): Required<PeerCertificate> => peer
  expect([there, back, port].length).toBe(3)
})

describe.each(["1.2", "1.3"] as const)("TLS %s", (version) => {
  const only = { minimum: version, maximum: version } as const

  test("a handshake without client certificate, data both ways, close_notify", () => {
    const { client: c, server: s } = pair(only)
    exchange(c, s)
    expect(c.state).toMatchObject({ tag: "open", version: `TLSv${version}`, peer: { commonName: "server" } })
    expect(s.state).toMatchObject({ tag: "open", version: `TLSv${version}`, peer: undefined })
    c.write(bytes("PUSH_REQUEST\0"))
    s.write(bytes("PUSH_REPLY,one\0"))
    s.write(bytes("PUSH_REPLY,two\0"))
    carry(c, s)
    carry(s, c)
    expect(received(s).map(text)).toEqual(["PUSH_REQUEST\0"])
    // One record a write, one record a read.
    expect(received(c).map(text)).toEqual(["PUSH_REPLY,one\0", "PUSH_REPLY,two\0"])
    s.close()
    carry(s, c)
    expect(c.read()).toBeUndefined()
    expect(c.state).toEqual({ tag: "closed" })
  })

  test.each([
    ["ECDSA", server, client],
    ["RSA", rsaServer, client],
    ["Ed25519 client", server, edClient],
  ] as const)("a handshake with client certificate: %s", (_, serverIdentity, clientIdentity) => {
    const options = { ...only, ...clientIdentity }
    const { client: c, server: s } = pair(options, { ...serverIdentity, requirePeer: true })
    exchange(c, s)
    expect(c.state.tag).toBe("open")
    expect(s.state).toMatchObject({ tag: "open", peer: { extendedKeyUsage: ["1.3.6.1.5.5.7.3.2"] } })
  })

  test.each([1, 7, 100, 1000])("the stream may be cut anywhere: pieces of %i bytes", (size) => {
    const { client: c, server: s } = pair({ ...only, ...client }, { requirePeer: true })
    exchange(c, s, size)
    expect([c.state.tag, s.state.tag]).toEqual(["open", "open"])
    const message = new Uint8Array(5000).fill(0x41)
    c.write(message)
    carry(c, s, size)
    expect(received(s)).toEqual([message])
  })

  test("plaintext that arrives with the end of the handshake is not lost", () => {
    const { client: c, server: s } = pair({ ...only, ...client }, { requirePeer: true })
    // TLS 1.2 ends with the server, 1.3 with the client: neither has sent its last flight on.
    for (let round = 0; round < 2 && c.state.tag !== "open"; round++) {
      carry(c, s)
      carry(s, c)
    }
    c.write(bytes("early"))
    carry(c, s)
    expect(received(s).map(text)).toEqual(["early"])
  })

  test("both sides export the same keys; another label or length exports others", () => {
    const { client: c, server: s } = pair(only)
    exchange(c, s)
    const keys = c.exportKey("EXPORTER-OpenVPN-datakeys", 256)
    expect(keys.length).toBe(256)
    expect(s.exportKey("EXPORTER-OpenVPN-datakeys", 256)).toEqual(keys)
    expect(s.exportKey("EXPORTER-OpenVPN-dynamic-tls-crypt", 256)).not.toEqual(keys)
  })

  test("the exporter gives what OpenSSL's own client prints, without context", async () => {
    const s = connection(context({ ...server, ...only }).accept())
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket, ciphertext) {
          s.feed(ciphertext)
          socket.write(s.pull() ?? new Uint8Array(0))
        },
      },
    })
    const to = ["-connect", `127.0.0.1:${listener.port}`]
    const wanted = ["-keymatexport", "EXPORTER-OpenVPN-datakeys", "-keymatexportlen", "64"]
    const peer = Bun.spawn(["openssl", "s_client", ...to, ...wanted], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "ignore",
    })
    const printed = await new Response(peer.stdout).text()
    listener.stop(true)
    const keys = s.exportKey("EXPORTER-OpenVPN-datakeys", 64)
    expect(printed).toContain(`Keying material: ${keys.toHex().toUpperCase()}`)
  })

  test.each([
    ["the server's chain ends in it", {}, "self-signed certificate in certificate chain (CN=Test Authority)"],
    ["the server keeps it to itself", { ca: undefined }, "unable to get local issuer certificate (CN=server)"],
  ])("an unknown authority; %s", (_, serverOptions, expected) => {
    const { client: c, server: s } = pair({ ...only, ca: stranger.certificate }, serverOptions)
    exchange(c, s)
    expect(failure(c.state)).toEqual({ check: "chain", message: `certificate verification failed: ${expected}` })
    expect(failure(s.state).message).toBe("client sent TLS alert: unknown ca")
  })

  test("a refused server gets an alert and nothing else of ours", () => {
    const verify = () => ({ check: "name", message: "the name is wrong" }) as const
    const { client: c, server: s } = pair({ ...only, ...client, verify }, { requirePeer: true })
    carry(c, s)
    carry(s, c)
    expect(c.state).toEqual({ tag: "failed", message: "the name is wrong", check: "name" })
    const flight = c.pull()!
    expect(recordTypes(flight)).toEqual([ALERT])
    expect(c.pull()).toBeUndefined()
    s.feed(flight)
    expect(failure(s.state).message).toBe("client sent TLS alert: bad certificate")
  })

  test("refusal comes before the last byte of the server's flight, or with it, however the stream is cut", () => {
    const verify = () => ({ check: "fingerprint", message: "unknown fingerprint" }) as const
    for (const size of [1, 50, 333]) {
      const { client: c, server: s } = pair({ ...only, ...client, ca: undefined, verify }, { requirePeer: true })
      carry(c, s)
      carry(s, c, size)
      expect(failure(c.state).check).toBe("fingerprint")
      expect(recordTypes(c.pull()!)).toEqual([ALERT])
    }
  })

  test("garbage behind the server's flight does not get a refused client's flight out", () => {
    const verify = () => ({ check: "name", message: "the name is wrong" }) as const
    const { client: c, server: s } = pair({ ...only, ...client, verify }, { requirePeer: true })
    carry(c, s)
    c.feed(Buffer.concat([s.pull()!, new Uint8Array(100).fill(0x99)]))
    expect(failure(c.state).check).toBe("name")
    expect(recordTypes(c.pull()!)).toEqual([ALERT])
  })

  test("verify runs once, with the facts of the certificate", () => {
    const seen: Array<PeerCertificate> = []
    const verify = (peer: PeerCertificate) => {
      seen.push(peer)
      return undefined
    }
    const { client: c, server: s } = pair({ ...only, verify })
    exchange(c, s, 10)
    expect(seen).toHaveLength(1)
    expect(seen[0]).toMatchObject({ subject: "CN=server", issuer: "CN=Test Authority", keyUsage: 0xa0 })
    expect(c.state).toMatchObject({ peer: seen[0]! })
  })

  test("without a ca the chain is not checked, but verify is", () => {
    const { client: c, server: s } = pair({ ...only, ca: undefined }, { verifyTime: 0 })
    exchange(c, s)
    expect(c.state).toMatchObject({ tag: "open", peer: { commonName: "server" } })
  })

  test("a server that wants a certificate says so by an alert", () => {
    const { client: c, server: s } = pair(only, { requirePeer: true })
    exchange(c, s)
    expect(failure(s.state).message).toContain("peer did not return a certificate")
    // A TLS 1.3 client is open by then and learns of it when it reads.
    expect(c.read()).toBeUndefined()
    expect(failure(c.state).message).toBe(
      version === "1.3" ? "server sent TLS alert: certificate required" : "server sent TLS alert: handshake failure",
    )
  })

  test("a corrupted record ends an open connection with a message", () => {
    const { client: c, server: s } = pair(only)
    exchange(c, s)
    s.write(bytes("PUSH_REPLY"))
    const ciphertext = s.pull()!
    ciphertext[ciphertext.length - 1]! ^= 1
    c.feed(ciphertext)
    expect(c.read()).toBeUndefined()
    expect(failure(c.state).message).toContain("TLS read: decryption failed or bad record mac")
    // Our own alert.
    expect(c.pull()).toBeDefined()
  })
})

describe("when certificates are judged", () => {
  const day = 86_400
  const now = Math.trunc(Date.now() / 1000)

  test.each([
    ["expired", now + 200 * day, /certificate has expired \(CN=server\)$/, "certificate expired"],
    ["authority expired", now + 4000 * day, /certificate has expired \(CN=Test Authority\)$/, "certificate expired"],
    ["not yet valid", now - 10 * day, /certificate is not yet valid \(CN=.*\)$/, "bad certificate"],
  ] as const)("%s", (_, verifyTime, expected, alert) => {
    const { client: c, server: s } = pair({ verifyTime })
    exchange(c, s)
    const { message, check } = failure(c.state)
    expect(check).toBe("validity")
    expect(message).toMatch(expected)
    expect(failure(s.state).message).toBe(`client sent TLS alert: ${alert}`)
  })

  test("a certificate that is for clients only cannot be a server's", () => {
    const { client: c, server: s } = pair({}, client)
    exchange(c, s)
    expect(failure(c.state)).toEqual({
      check: "purpose",
      message: expect.stringMatching(/certificate purpose \(CN=client\)$/),
    })
  })

  test("a chain with an intermediate is built from what the server sends", () => {
    const ca = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
    const intermediate = authority.issue("intermediate", "ec", ca)
    const request = ["req", "-new", "-nodes", "-newkey", "ed25519", "-subj", "/CN=deep"]
    authority.openssl([...request, "-keyout", "deep.key", "-out", "deep.csr"])
    const signer = ["-CA", "intermediate.crt", "-CAkey", "intermediate.key", "-CAcreateserial"]
    authority.openssl(["x509", "-req", "-in", "deep.csr", ...signer, "-out", "deep.crt"])
    const deep = { certificate: authority.read("deep.crt"), key: authority.read("deep.key") }

    const whole = pair({}, { ...deep, certificate: deep.certificate + intermediate.certificate })
    exchange(whole.client, whole.server)
    expect(whole.client.state).toMatchObject({ tag: "open", peer: { issuer: "CN=intermediate" } })

    const partial = pair({}, { ...deep, ca: undefined })
    exchange(partial.client, partial.server)
    expect(failure(partial.client.state).check).toBe("chain")
  })
})

describe("input that is no TLS", () => {
  test.each([
    ["text", bytes("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["zeros", new Uint8Array(100)],
    ["a record of random bytes", Uint8Array.of(22, 3, 3, 0, 4, 9, 9, 9, 9)],
    ["a record that is too long", Uint8Array.of(22, 3, 3, 255, 255, ...new Uint8Array(70_000))],
  ])("%s fails the handshake with a message", (_, garbage) => {
    const c = connection(context({}).connect())
    c.pull()
    c.feed(garbage)
    expect(failure(c.state).message).toMatch(/^TLS handshake: \w+/)
  })

  test("after a failure nothing changes any more", () => {
    const c = connection(context({}).connect())
    c.feed(new Uint8Array(100))
    const { state } = c
    c.pull()
    c.feed(new Uint8Array(100))
    c.write(bytes("x"))
    c.close()
    expect(c.read()).toBeUndefined()
    expect(c.pull()).toBeUndefined()
    expect(c.state).toBe(state)
    expect(() => c.exportKey("EXPORTER-x", 16)).toThrow("not open")
  })

  test("no flight of the server, truncated or with a bit flipped, makes anything throw", () => {
    const { client: c, server: s } = pair({})
    const hello = c.pull()!
    s.feed(hello)
    const flight = s.pull()!
    for (let at = 0; at < flight.length; at += 13) {
      const bad = flight.slice()
      bad[at]! ^= 0x10
      const one = context({}).connect()
      one.feed(bad)
      one.feed(flight.subarray(0, at))
      expect(one.state.tag).not.toBe("open")
      one.free()
    }
  })
})

describe("the ClientHello", () => {
  const hello = (options: Partial<TlsOptions>) => connection(context(options).connect()).pull()!
  /** Extension types of the only record. */
  function extensions(flight: Uint8Array): Array<number> {
    const at = new DataView(flight.buffer, flight.byteOffset)
    let offset = 5 + 4 + 2 + 32
    offset += 1 + at.getUint8(offset)
    offset += 2 + at.getUint16(offset)
    offset += 1 + at.getUint8(offset)
    const types: Array<number> = []
    for (offset += 2; offset < flight.length; offset += 4 + at.getUint16(offset + 2)) types.push(at.getUint16(offset))
    return types
  }

  test("names no server, protocol or ticket", () => {
    const types = extensions(hello({}))
    expect(types).toContain(43) // supported_versions: the parser above works
    expect(types).not.toContain(0) // server_name
    expect(types).not.toContain(16) // ALPN
    expect(types).not.toContain(35) // session_ticket
  })
})

describe("ciphers and groups", () => {
  function agreed(clientOptions: Partial<TlsOptions>, serverOptions: Partial<TlsOptions> = {}): TlsState {
    const { client: c, server: s } = pair(clientOptions, serverOptions)
    exchange(c, s)
    return c.state
  }

  test.each([
    ["IANA name with dashes", "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"],
    ["OpenSSL's name", "ECDHE-ECDSA-AES128-GCM-SHA256"],
    ["a list with exclusions", "DEFAULT:!TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384:!CHACHA20:!AESCCM:!AES256:!SHA384"],
    ["unknown ones are passed over", "TLS-NEVER-HEARD-OF:TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"],
  ])("%s", (_, ciphers) => {
    expect(agreed({ maximum: "1.2", ciphers })).toMatchObject({ tag: "open", cipher: "ECDHE-ECDSA-AES128-GCM-SHA256" })
  })

  test("TLS 1.3 suites by IANA name", () => {
    const suites = { ciphersuites: "TLS-CHACHA20-POLY1305-SHA256" }
    expect(agreed(suites)).toMatchObject({ version: "TLSv1.3", cipher: "TLS_CHACHA20_POLY1305_SHA256" })
  })

  test("groups that this OpenSSL does not know are passed over", () => {
    const groups = "no-such-group:secp384r1"
    expect(agreed({ groups }, { groups: "secp384r1" }).tag).toBe("open")
    expect(failure(agreed({ groups }, { groups: "X25519" })).message).toMatch(/^server sent TLS alert: /)
  })

  test("without a common cipher the alert is named", () => {
    const mine = { maximum: "1.2", ciphers: "ECDHE-RSA-AES256-GCM-SHA384" } as const
    expect(failure(agreed(mine)).message).toBe("server sent TLS alert: handshake failure")
  })

  test.each(["AECDH-AES256-SHA", "NULL-SHA256"])("%s is not to be had with any profile", (ciphers) => {
    expect(() => context({ certProfile: "insecure", ciphers })).toThrow("no cipher match")
  })

  test("TLS 1.0 is spoken with the insecure profile only", () => {
    const old = { minimum: "1.0", maximum: "1.0", certProfile: "insecure", ciphers: "ALL" } as const
    expect(agreed(old, old)).toMatchObject({ tag: "open", version: "TLSv1" })
    expect(() => context({ ...old, certProfile: "legacy" })).toThrow("TLS 1.0 needs tls-cert-profile insecure")
    expect(agreed({ minimum: "1.0" })).toMatchObject({ version: "TLSv1.3" })
  })

  test("a server below the minimum is refused", () => {
    expect(failure(agreed({ minimum: "1.3" }, { maximum: "1.2" })).message).toBe(
      "server sent TLS alert: protocol version",
    )
  })

  test("the certificate profile decides which keys are strong enough", () => {
    const weak = new Authority("rsa1024", "/CN=Weak Authority")
    const identity = weak.issue("server", "ec", SERVER)
    const ca = weak.certificate
    weak.remove()
    const offered = { ...identity, certProfile: "insecure" } as const
    expect(agreed({ ca, certProfile: "legacy" }, offered).tag).toBe("open")
    const { message, check } = failure(agreed({ ca, certProfile: "preferred" }, offered))
    expect(check).toBe("chain")
    expect(message).toContain("key too weak (CN=Weak Authority); tls-cert-profile")
  })

  test("Suite B takes its own curves, ciphers and signatures, and nothing else", () => {
    const suiteb = { certProfile: "suiteb", maximum: "1.2" } as const
    expect(agreed(suiteb)).toMatchObject({ tag: "open", cipher: "ECDHE-ECDSA-AES128-GCM-SHA256" })
    expect(agreed(suiteb, { groups: "X25519" }).tag).toBe("failed")
    expect(agreed(suiteb, { ciphers: "ECDHE-ECDSA-CHACHA20-POLY1305" }).tag).toBe("failed")
    expect(agreed(suiteb, rsaServer).tag).toBe("failed")
  })
})

describe("memory", () => {
  test("free is final and may come twice", () => {
    const { client: c, server: s } = pair({})
    exchange(c, s)
    c.free()
    c.free()
    c.write(bytes("x"))
    c.feed(new Uint8Array(10))
    c.close()
    expect(c.read()).toBeUndefined()
    expect(c.pull()).toBeUndefined()
    expect(() => c.exportKey("EXPORTER-x", 16)).toThrow("not open")
  })

  test("a connection outlives its context, which makes no more", () => {
    const made = TlsContext.create(defaults)
    const c = connection(made.connect())
    const s = connection(context(server).accept())
    made.free()
    made.free()
    exchange(c, s)
    expect(c.state.tag).toBe("open")
    expect(() => made.connect()).toThrow("the context is freed")
  })

  test("hundreds of handshakes, good and refused, leave no memory behind", () => {
    const clients = [
      context({ ...client }),
      context({ ca: stranger.certificate }),
      context({ verify: () => ({ check: "name", message: "no" }) }),
    ]
    const servers = context(server)
    const cycle = () => {
      for (const one of clients) {
        using c = one.connect()
        using s = servers.accept()
        exchange(c, s)
      }
    }
    for (let i = 0; i < 50; i++) cycle()
    Bun.gc(true)
    const before = process.memoryUsage.rss()
    for (let i = 0; i < 200; i++) cycle()
    Bun.gc(true)
    // Connections that are not freed cost 100 KiB a pair: 60 MiB here.
    expect(process.memoryUsage.rss() - before).toBeLessThan(20 * 1024 * 1024)
  })
})
