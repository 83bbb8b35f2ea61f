/** What we say of ourselves in the key exchange: the server finds nothing in it to warn about, and its scripts get the rest. */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import type { ServerOptions } from "../support/openvpn.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

/** The server's options, and the lines that both files have. */
const cells: ReadonlyArray<readonly [string, ServerOptions, ReadonlyArray<string>]> = [
  ["udp", {}, []],
  ["tcp", { transport: "tcp" }, []],
  ["tls-auth with direction and SHA256", { wrapping: { type: "tls-auth", direction: 0, digest: "SHA256" } }, []],
  ["tls-auth without direction", { wrapping: { type: "tls-auth" } }, ["auth SHA512"]],
  ["tls-crypt-v2", { wrapping: { type: "tls-crypt-v2" } }, []],
  ["CBC", { dataCiphers: ["AES-256-CBC"] }, ["auth SHA256"]],
  ["CBC over tcp, with cipher", { dataCiphers: ["AES-128-CBC"], transport: "tcp" }, ["cipher AES-128-CBC"]],
  ["comp-lzo no", {}, ["comp-lzo no"]],
  ["compress stub-v2 over tcp", { transport: "tcp" }, ["compress stub-v2"]],
  ["tun-mtu 1400", {}, ["tun-mtu 1400"]],
  ["tun-mtu 1400 1450", {}, ["tun-mtu 1400 1450"]],
  ["fragment 1300 and comp-lzo no", {}, ["fragment 1300", "comp-lzo no"]],
  ["IPv6 outside", { family: "ipv6" }, []],
]

test.each([...cells])("%s", async (_name, options, lines) => {
  const own: ServerOptions = { ...options, lines: [...lines, "verb 7"] }
  await using server = await bench.serve(own)
  await using client = bench.connect(own, { lines })
  await client.ready()
  await server.line(/SENT CONTROL .*PUSH_REPLY/)
  // The server compared: this finds something if there is something to be found.
  expect(server.log.some((line) => /Expected Remote Options String/.test(line))).toBe(true)
  expect(server.log.filter((line) => /WARNING: '|used inconsistently|is present in (local|remote)/.test(line))).toEqual(
    [],
  )
})

test("push-peer-info: the server learns of the machine, and its scripts of the variables", async () => {
  const { lab } = bench
  const environment = lab.write("environment", "")
  const script = lab.write("connected.sh", `#!/bin/sh\nenv | grep -E '^(IV|UV)_' > ${environment}\n`, 0o755)
  await using server = await bench.serve({ lines: ["script-security 2", `client-connect ${script}`] })
  const variables = ["setenv UV_ROOM kitchen", "setenv IV_GUI_VER 'sidecar 1'", "setenv HOME /root"]
  await using client = bench.connect({}, { lines: ["push-peer-info", ...variables] })
  await client.ready()
  const told = readFileSync(environment, "utf8")
  const { stdout: kernel } = await lab.client.finish(["uname", "-r"])
  expect(told).toContain(`IV_PLAT_VER=${kernel.trim()}\n`)
  expect(told).toMatch(/^IV_SSL=OpenSSL_3\.\d+/m)
  expect(told).toContain("UV_ROOM=kitchen\n")
  expect(told).toContain("IV_GUI_VER=sidecar_1\n")
  const outside = await lab.client.succeed(["cat", "/sys/class/net/outer/address"])
  expect(told).toContain(`IV_HWADDR=${outside.trim()}\n`)
  expect(told).not.toContain("/root")
  expect(server.log.filter((line) => /peer info: IV_PROTO=/.test(line))).toEqual([expect.stringContaining("=8094")])
})

test("without it the variables stay here", async () => {
  await using server = await bench.serve()
  await using client = bench.connect({}, { lines: ["setenv UV_ROOM kitchen"] })
  await client.ready()
  expect(server.log.filter((line) => /UV_|IV_SSL|IV_PLAT_VER|IV_HWADDR/.test(line))).toEqual([])
})
