/** Who the client says it is, and where the data keys come from. */
import { expect, test } from "bun:test"
import { exitCode, subject } from "../support/culvert.ts"
import { useBench } from "./bench.ts"

const bench = useBench()
const user = { name: "Zoë", password: 'p w "quoted" ü#;\\' } as const

test("certificate, user and password", async () => {
  await using server = await bench.serve({ user })
  await using client = bench.connect({ user })
  await client.ready()
  await bench.carriesTraffic()
  await server.line(/authentication succeeded for username 'Zo/)
})

test("user and password alone", async () => {
  await using _server = await bench.serve({ user, clientCertificate: "none" })
  await using client = bench.connect({ user }, { certificate: "none" })
  await client.ready()
  await bench.carriesTraffic()
})

test("a wrong password ends the program and says why, without the password", async () => {
  await using _server = await bench.serve({ user })
  await using client = bench.connect({ user }, { user: { name: user.name, password: "not-it-4711" } })
  const code = await client.child.exited()
  expect(client.child.output).not.toContain("not-it-4711")
  if (subject !== "culvert") return
  expect(code).toBe(exitCode.authenticationRefused)
  expect(client.events("auth_failed")).toHaveLength(1)
})

test.each([
  ["peer ids and the PRF", "data-v2"],
  ["neither peer ids nor the exporter (DATA_V1 and the PRF)", "none"],
] as const)("a server that knows %s", async (_what, readsClientAs) => {
  await using server = await bench.serve({ readsClientAs })
  await using client = bench.connect({})
  await client.ready()
  await bench.carriesTraffic()
  const reply = await server.line(/SENT CONTROL .*PUSH_REPLY/)
  expect(reply).not.toContain("tls-ekm")
  expect(reply.includes("peer-id")).toBe(readsClientAs === "data-v2")
})

test("the exporter, when both sides know it", async () => {
  await using server = await bench.serve()
  await using client = bench.connect({})
  await client.ready()
  expect(await server.line(/SENT CONTROL .*PUSH_REPLY/)).toContain("tls-ekm")
})
