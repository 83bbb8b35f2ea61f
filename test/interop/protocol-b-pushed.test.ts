/** What the real server pushes beside addresses and routes, and that it is done. */
import { expect } from "bun:test"
import { exitCode } from "../support/culvert.ts"
import type { ServerOptions } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()

/** Over TCP the client's file says nothing of its own about the end. */
const pushing = (...push: ReadonlyArray<string>): ServerOptions => ({ transport: "tcp", push })

testCulvert("tun-mtu", async () => {
  // The server pushes its own.
  const options: ServerOptions = { transport: "tcp", lines: ["tun-mtu 1400"] }
  await using _server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  expect(await bench.lab.client.succeed(["ip", "link", "show", "dev", "tun0"])).toContain("mtu 1400 ")
  await bench.carriesTraffic()
})

testCulvert.each([
  ["inactive 2 1000000", "inactive"],
  ["session-timeout 2", "session-timeout"],
])("%s ends the program", async (option, reason) => {
  const options = pushing(option)
  await using _server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  expect(await client.child.exited()).toBe(exitCode.gaveUp)
  expect(client.events("disconnected")[0]!.message).toContain(`(${reason})`)
})

testCulvert("ping-exit ends the program when nothing comes any more", async () => {
  const options: ServerOptions = { push: ["ping-exit 2"] }
  await using server = await bench.serve(options)
  await using client = bench.connect(options, { lines: ['pull-filter ignore "ping-restart"'] })
  await client.ready()
  server.suspend()
  expect(await client.child.exited()).toBe(exitCode.gaveUp)
  expect(client.events("disconnected")[0]!.message).toContain("(ping-exit)")
})

testCulvert("ping and ping-restart", async () => {
  const options: ServerOptions = { keepalive: [1, 2] }
  await using server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  expect((await client.status()).deadAfter).toBe(2)
  server.suspend()
  expect((await client.event("disconnected")).message).toContain("for 2 s (ping-restart)")
})

testCulvert("explicit-exit-notify: the server hears of the end at once", async () => {
  const options = pushing("explicit-exit-notify 1")
  await using server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  await client.stop()
  await server.line(/CC-EEN exit message received/)
})

testCulvert("cipher, peer-id and protocol-flags are what the server chose", async () => {
  const options: ServerOptions = { dataCiphers: ["CHACHA20-POLY1305"] }
  await using server = await bench.serve(options)
  await using client = bench.connect({}, { dataCiphers: ["AES-256-GCM", "CHACHA20-POLY1305"] })
  await client.ready()
  const reply = await server.line(/SENT CONTROL .*PUSH_REPLY/)
  expect(reply).toMatch(/peer-id \d+.*cipher CHACHA20-POLY1305.*protocol-flags cc-exit tls-ekm dyn-tls-crypt/)
  expect((await client.status()).cipher).toBe("CHACHA20-POLY1305")
  await bench.carriesTraffic()
})
