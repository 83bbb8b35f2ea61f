/** Data ciphers that have to be asked for, and framings of compression. GCM and ChaCha20 of the default are in the matrix. */
import { describe, expect, test } from "bun:test"
import { type DataCipher, type ServerOptions, tunnel } from "../support/openvpn.ts"
import { ping } from "../support/traffic.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

/** Each cipher and each digest with every other way that keys and packets are made. */
const cells: ReadonlyArray<readonly [DataCipher, string, ServerOptions]> = [
  ["AES-256-CBC", "SHA1", {}],
  ["AES-128-CBC", "SHA256", { transport: "tcp" }],
  ["AES-192-CBC", "SHA512", { readsClientAs: "data-v2" }],
  ["AES-256-CBC", "SHA384", { readsClientAs: "none" }],
  ["AES-192-GCM", "SHA1", {}],
]

test.each([...cells])("%s with %s %p", async (cipher, digest, ways) => {
  const options: ServerOptions = { ...ways, dataCiphers: [cipher], lines: [`auth ${digest}`] }
  await using server = await bench.serve(options)
  await using client = bench.connect(options, { lines: [`auth ${digest}`] })
  await client.ready()
  await bench.carriesTraffic()
  await server.line(new RegExp(`Data Channel: cipher '${cipher}'`), 5_000)
})

describe("a server that names no cipher in its push", () => {
  const silent = ['pull-filter ignore "cipher"', "auth SHA256"]

  test("has that of its options string", async () => {
    const options: ServerOptions = {
      dataCiphers: ["AES-256-CBC"],
      lines: ["cipher AES-256-CBC", "auth SHA256"],
    }
    await using _server = await bench.serve(options)
    await using client = bench.connect({ dataCiphers: ["AES-256-GCM", "AES-256-CBC"] }, { lines: silent })
    await client.ready()
    await bench.carriesTraffic()
    expect((await client.status()).cipher).toBe("AES-256-CBC")
  })

  test("has that of data-ciphers-fallback otherwise", async () => {
    const options: ServerOptions = { dataCiphers: ["AES-128-CBC"], lines: ["auth SHA256"] }
    await using _server = await bench.serve(options)
    const lines = [...silent, "data-ciphers-fallback AES-128-CBC"]
    await using client = bench.connect({ dataCiphers: ["AES-128-CBC", "AES-256-GCM"] }, { lines })
    await client.ready()
    await bench.carriesTraffic()
    expect((await client.status()).cipher).toBe("AES-128-CBC")
  })
})

test("a renegotiation under CBC keeps cipher and digest", async () => {
  const options: ServerOptions = { dataCiphers: ["AES-256-CBC"], lines: ["auth SHA256"] }
  await using server = await bench.serve(options)
  await using client = bench.connect(options, { lines: ["auth SHA256", "reneg-sec 2", "hand-window 2"] })
  await client.ready()
  await client.event("renegotiated", 20_000, 2)
  await bench.carriesTraffic()
  expect(server.log.filter((line) => /Authenticate\/Decrypt|out of sync/.test(line))).toEqual([])
})

describe("framing of compression", () => {
  test.each(["comp-lzo no", "compress", "compress stub", "compress stub-v2"])("%s on both sides", async (line) => {
    await using server = await bench.serve({ lines: [line], keepalive: [1, 60] })
    await using client = bench.connect({}, { lines: [line] })
    await client.ready()
    await bench.carriesTraffic()
    expect(server.log.filter((text) => /decompress|compression .*fail|used inconsistently/i.test(text))).toEqual([])
  })

  test.each(["comp-lzo no", "compress stub-v2"])("%s from the server's push alone", async (line) => {
    await using _server = await bench.serve({ lines: [line, `push "${line}"`] })
    await using client = bench.connect({})
    await client.ready()
    await bench.carriesTraffic()
  })

  test("with a CBC cipher over TCP", async () => {
    const options: ServerOptions = { transport: "tcp", dataCiphers: ["AES-256-CBC"], lines: ["comp-lzo no"] }
    await using _server = await bench.serve(options)
    await using client = bench.connect(options, { lines: ["comp-lzo no"] })
    await client.ready()
    await bench.carriesTraffic()
  })

  describe.each([
    ["compress lz4-v2", "compress lz4-v2"],
    ["compress lz4", "compress lz4"],
    ["compress lzo", "compress lzo"],
    ["comp-lzo yes", "comp-lzo yes"],
  ])("%s of a server that compresses", (line, own) => {
    /** What the server's end makes short of it. */
    const echo = () => ping(bench.lab.client, tunnel.ipv4, 3, ["-s", "1300", "-p", "41"])
    const options: ServerOptions = { lines: [line, "allow-compression yes", `push "${line}"`] }

    test("is taken with allow-compression asym", async () => {
      await using _server = await bench.serve(options)
      await using client = bench.connect({}, { lines: ["allow-compression asym", own] })
      await client.ready()
      await echo()
      await bench.carriesTraffic()
      const { counters = {} } = await client.status()
      expect([counters["drop:compressed"] ?? 0, counters["drop:malformed"] ?? 0]).toEqual([0, 0])
    })
  })

  test("a server that compresses is refused when the file allows it not", async () => {
    const lines = ["compress lz4-v2", "allow-compression yes", 'push "compress lz4-v2"']
    await using _server = await bench.serve({ lines })
    await using client = bench.connect({})
    expect((await client.event("disconnected")).message).toContain("allow-compression asym")
  })

  test("what a server compresses all the same is dropped, and counted", async () => {
    await using _server = await bench.serve({ lines: ["compress lz4-v2", "allow-compression yes"] })
    await using client = bench.connect({}, { lines: ["compress stub-v2", "allow-compression no"] })
    await client.ready()
    await expect(ping(bench.lab.client, tunnel.ipv4, 1, ["-s", "1300", "-p", "41"])).rejects.toThrow("ping")
    expect((await client.status()).counters?.["drop:compressed"]).toBeGreaterThan(0)
  })
})
