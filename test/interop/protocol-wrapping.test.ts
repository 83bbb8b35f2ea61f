/** tls-crypt-v2 and dynamic tls-crypt, as the real server has them. */
import { describe, expect, test } from "bun:test"
import { mkdirSync } from "node:fs"
import type { ServerOptions, Wrapping } from "../support/openvpn.ts"
import { makeTlsCryptV2Keys } from "../support/pki.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

for (const transport of ["udp", "tcp"] as const)
  test.each(["force-cookie", "allow-noncookie"] as const)(`tls-crypt-v2 over ${transport}, %s`, async (cookie) => {
    const options: ServerOptions = { transport, wrapping: { type: "tls-crypt-v2", cookie } }
    await using server = await bench.serve(options)
    await using client = bench.connect(options)
    await client.ready()
    await bench.carriesTraffic()
    expect(server.log.filter((line) => /error|unwrap|replay/i.test(line))).toEqual([])
  })

test("tls-crypt-v2 with a key that the server did not make gets no answer", async () => {
  await using server = await bench.serve({ wrapping: { type: "tls-crypt-v2" } })
  mkdirSync(`${bench.lab.directory}/other`)
  const { client: other } = await makeTlsCryptV2Keys(`${bench.lab.directory}/other`)
  await using client = bench.connect(
    { wrapping: { type: "plain" } },
    { lines: ["connect-timeout 2", "<tls-crypt-v2>", other.trim(), "</tls-crypt-v2>"] },
  )
  await client.event("disconnected")
  expect(server.log.some((line) => /TLS: Initial packet/.test(line))).toBe(false)
})

describe("dynamic tls-crypt: three renegotiations, by the server's word under a key of the session", () => {
  const wrappings: ReadonlyArray<readonly [string, Wrapping]> = [
    ["plain", { type: "plain" }],
    ["tls-auth", { type: "tls-auth", direction: 0, digest: "SHA512" }],
    ["tls-crypt", { type: "tls-crypt" }],
    ["tls-crypt-v2", { type: "tls-crypt-v2" }],
  ]
  for (const [name, wrapping] of wrappings)
    test(name, async () => {
      const options: ServerOptions = { wrapping }
      await using server = await bench.serve(options)
      await using client = bench.connect(options, { lines: ["reneg-sec 1", "hand-window 1"] })
      await client.ready()
      expect(await server.line(/SENT CONTROL .*PUSH_REPLY/)).toContain("dyn-tls-crypt")
      await client.event("renegotiated", 20_000, 3)
      await bench.carriesTraffic()
      expect(client.events("renegotiation_failed")).toEqual([])
      expect(server.log.filter((line) => /TLS Error|unwrap|replay/i.test(line))).toEqual([])
    })
})
