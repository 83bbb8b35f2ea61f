/** Logins of the real server over time: tokens with a name of their own and with an end, other credentials after a refusal. */
import { expect } from "bun:test"
import { writeFileSync } from "node:fs"
import { judged, secret } from "../support/logins.ts"
import type { ServerOptions } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
let serial = 0

function login(server: ServerOptions, directory: string, lines: ReadonlyArray<string> = ["auth-user-pass"]) {
  return bench.connect(server, { certificate: "none", lines }, { environment: { CULVERT_CREDENTIALS: directory } })
}

testCulvert("a token with a user name of its own logs in after a restart of the server", async () => {
  const push = ["auth-token T0KEN", "auth-token-user em/Dqw=="]
  const { server: options, calls } = judged(bench.lab, "exit 0", { keepalive: [1, 2], push })
  await using server = await bench.serve(options)
  const { directory } = secret(bench.lab, { username: "anna", password: "s3cret" })
  await using client = login(options, directory)
  await client.ready()
  await server.kill()
  await client.event("disconnected", 20_000)
  await server.start()
  await client.event("connected", 20_000, 2)
  expect(calls()).toEqual(["anna s3cret", "zoë T0KEN"])
  expect(client.child.output).not.toContain("T0KEN")
})

testCulvert("a token without one logs in at renegotiations under the name that the server knows", async () => {
  const { server: options, calls } = judged(bench.lab, "exit 0", { push: ["auth-token T0KEN"] })
  await using _server = await bench.serve(options)
  const { directory } = secret(bench.lab, { username: "anna", password: "s3cret" })
  await using client = login(options, directory, ["auth-user-pass", "reneg-sec 2", "hand-window 10"])
  await client.ready()
  await client.event("renegotiated", 20_000)
  expect([calls()[0], ...new Set(calls().slice(1))]).toEqual(["anna s3cret", "anna T0KEN"])
})

testCulvert("a token that has expired by the next renegotiation gives way to the password", async () => {
  const secretFile = bench.lab.write(`token-${++serial}.key`, "")
  await bench.lab.server.succeed(["openvpn", "--genkey", "auth-token", secretFile])
  // Seconds of life, at least two hand-windows of the server: it is over before there is a renegotiation.
  const { server: options, calls } = judged(bench.lab, "exit 0", {
    lines: ["hand-window 3", "auth-gen-token 6 6", `auth-gen-token-secret ${secretFile}`],
  })
  await using server = await bench.serve(options)
  const { directory } = secret(bench.lab, { username: "anna", password: "s3cret" })
  await using client = login(options, directory, ["auth-user-pass", "reneg-sec 8", "hand-window 10"])
  await client.ready()
  const refused = await client.event("auth_failed", 30_000)
  expect(refused.message).toContain("no longer takes its token")
  await client.event("connected", 20_000, 2)
  expect(calls()).toEqual(["anna s3cret", "anna s3cret"])
  expect(server.log.some((line) => /auth-token.*expired|token.*timed? ?out|TLS Auth Error/i.test(line))).toBe(true)
})

testCulvert(
  "auth-retry interact: a wrong password is not tried again, but the next one is as soon as it is there",
  async () => {
    const { server: options, calls } = judged(bench.lab, '[ "$password" = right ]')
    await using _server = await bench.serve(options)
    const { directory, write } = secret(bench.lab, { username: "anna", password: "wrong" })
    await using client = login(options, directory, ["auth-user-pass", "auth-retry interact"])
    await client.event("credentials_awaited")
    write("password", "right")
    await client.ready()
    expect(calls()).toEqual(["anna wrong", "anna right"])
  },
)

testCulvert("auth-retry interact: another one-time code is sent without anything else beginning anew", async () => {
  const { server: options, calls } = judged(bench.lab, '[ "$password" = s3cret222 ]')
  await using _server = await bench.serve(options)
  const { directory, write } = secret(bench.lab, { username: "anna", password: "s3cret", otp: "111" })
  const lines = ["auth-user-pass", "auth-retry interact", 'static-challenge "Code" 0 concat']
  await using client = login(options, directory, lines)
  await client.event("credentials_awaited")
  write("otp", "222")
  await client.ready()
  expect(calls()).toEqual(["anna s3cret111", "anna s3cret222"])
  // A code that changes while the tunnel is up concerns nobody.
  write("otp", "333")
  await bench.carriesTraffic()
  expect([client.events("reloaded"), client.events("connected").length]).toEqual([[], 1])
})

testCulvert("auth-nocache: the file is read at each login, also at a renegotiation", async () => {
  const { server: options, calls } = judged(bench.lab, "exit 0")
  await using _server = await bench.serve(options)
  const file = bench.lab.write(`login-${++serial}`, "anna\nfirst\n", 0o600)
  const { directory } = secret(bench.lab, {})
  const lines = [`auth-user-pass ${file}`, "auth-nocache", "reneg-sec 3", "hand-window 10"]
  await using client = login(options, directory, lines)
  await client.ready()
  writeFileSync(file, "anna\nsecond\n")
  await client.event("reloaded", 20_000)
  await client.event("renegotiated", 20_000)
  expect(new Set(calls())).toEqual(new Set(["anna first", "anna second"]))
})

testCulvert("TEMP with advance goes to the next server, after the time that the first one asks for", async () => {
  const full = `printf '%s' 'TEMP[backoff 2,advance remote]:full' > "$auth_failed_reason_file"; exit 1`
  const { server: first, calls } = judged(bench.lab, full)
  const second: ServerOptions = {
    port: 1195,
    lines: ["server 10.66.0.0 255.255.255.0", ...(judged(bench.lab, "exit 0").server.lines ?? [])],
  }
  await using _first = await bench.serve(first)
  await using _second = await bench.serve(second)
  const { directory } = secret(bench.lab, { username: "anna", password: "s3cret" })
  await using client = login(first, directory, ["auth-user-pass", "remote 10.90.0.1 1195"])
  await client.ready()
  expect(calls()).toHaveLength(1)
  expect(client.events("auth_failed")[0]!.message).toContain("for now: full")
  expect(client.events("connecting").at(-1)!.remote).toContain(":1195")
  expect(Number(client.events("retry_scheduled")[0]!.seconds)).toBeGreaterThan(1.5)
})
