/** Logins of the real server in which the password is not enough, or not asked for: tokens, codes, refusals for a while. */
import { expect } from "bun:test"
import { readFileSync } from "node:fs"
import { eventually } from "../support/child.ts"
import { exitCode } from "../support/culvert.ts"
import { judged, secret } from "../support/logins.ts"
import type { ServerOptions } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
let serial = 0

function login(server: ServerOptions, files: Readonly<Record<string, string>>, lines: ReadonlyArray<string> = []) {
  const { directory } = secret(bench.lab, { username: "anna", password: "s3cret", ...files })
  const environment = { CULVERT_CREDENTIALS: directory }
  return bench.connect(server, { certificate: "none", lines: ["auth-user-pass", ...lines] }, { environment })
}

const refuse = (reason: string) => `printf '%s' '${reason}' > "$auth_failed_reason_file"; exit 1`

testCulvert(
  "a token logs in at renegotiations and after a restart of the server; when it is worthless the password does",
  async () => {
    const secretFile = bench.lab.write(`token-${++serial}.key`, "")
    await bench.lab.server.succeed(["openvpn", "--genkey", "auth-token", secretFile])
    const { server: options, calls } = judged(bench.lab, "exit 0", {
      keepalive: [1, 4],
      lines: ["auth-gen-token 3600 3600", `auth-gen-token-secret ${secretFile}`],
    })
    await using server = await bench.serve(options)
    await using client = login(options, {}, ["reneg-sec 3", "hand-window 3"])
    await client.ready()
    await client.event("renegotiated", 20_000, 2)
    await server.kill()
    await client.event("disconnected")
    await server.start()
    await client.event("connected", 20_000, 2)
    await bench.carriesTraffic()
    expect(calls()).toEqual(["anna s3cret"])

    await server.kill()
    await client.event("disconnected", 20_000, 2)
    await bench.lab.server.succeed(["openvpn", "--genkey", "auth-token", secretFile])
    await server.start()
    await client.event("connected", 20_000, 3)
    await bench.carriesTraffic()
    expect(calls()).toEqual(["anna s3cret", "anna s3cret"])
    expect(client.child.output).not.toContain("SESS_ID")
  },
)

testCulvert("a static challenge sends password and code together", async () => {
  const { server: options, calls } = judged(bench.lab, "exit 0")
  await using _server = await bench.serve(options)
  await using client = login(options, { otp: "123456" }, [`static-challenge "Code" 1`])
  await client.ready()
  expect(calls()).toEqual(["anna SCRV1:czNjcmV0:MTIzNDU2"])
})

testCulvert("a dynamic challenge is answered at the next login", async () => {
  const challenge = refuse("CRV1:R,E:state-1:YW5uYQ==:Which code?")
  const { server: options, calls } = judged(bench.lab, `[ "$password" = CRV1::state-1::4711 ] && exit 0; ${challenge}`)
  await using _server = await bench.serve(options)
  await using client = login(options, { otp: "4711" })
  await client.ready()
  await bench.carriesTraffic()
  expect(calls()).toEqual(["anna s3cret", "anna CRV1::state-1::4711"])
})

testCulvert("a dynamic challenge without a code ends the program, and says what is missing", async () => {
  const { server: options } = judged(bench.lab, refuse("CRV1:R,E:state-1:YW5uYQ==:Which code?"))
  await using _server = await bench.serve(options)
  await using client = login(options, {})
  expect(await client.child.exited()).toBe(exitCode.authenticationRefused)
  expect(client.events("auth_failed")[0]!.message).toContain("one-time code, and there is no (new) one: Which code?")
})

testCulvert("a question while the login is pending is answered with the code", async () => {
  const answers = bench.lab.write(`answers-${++serial}`, "")
  const judge = bench.lab.write(
    `answer-${serial}.sh`,
    `#!/bin/sh\ncat "$1" >> ${answers}\nprintf 1 > "$auth_control_file"\n`,
    0o755,
  )
  const pending = String.raw`printf '30\ncrtext\nCR_TEXT:R,E:The code, please\n' > "$auth_pending_file"; exit 2`
  const { server: options } = judged(bench.lab, pending, { lines: [`client-crresponse ${judge}`] })
  await using _server = await bench.serve(options)
  await using client = login(options, { otp: "4711" })
  await client.ready()
  await bench.carriesTraffic()
  expect(readFileSync(answers, "utf8").trim()).toBe("NDcxMQ==")
  expect(client.events("auth_pending")).toHaveLength(1)
  expect(client.events("server_question")[0]!.message).toContain("The code, please")
})

testCulvert("a refusal for the time being is tried again as soon as the server allows", async () => {
  const { server: options, calls } = judged(
    bench.lab,
    `[ -e "$config.seen" ] && exit 0; touch "$config.seen"; ${refuse("TEMP[backoff 2]:busy")}`,
  )
  await using _server = await bench.serve(options)
  await using client = login(options, {})
  await client.ready()
  expect(calls()).toHaveLength(2)
  expect(client.events("auth_failed")[0]!.message).toContain("for now: busy")
  expect(Number(client.events("retry_scheduled")[0]!.seconds)).toBeGreaterThan(1.5)
})

testCulvert("a server that restarts says so, and is connected to again at once", async () => {
  const options: ServerOptions = { lines: ["explicit-exit-notify 1"] }
  await using server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  await server.stop()
  expect((await client.event("disconnected")).message).toContain("restart")
  await server.start()
  await client.event("connected", 20_000, 2)
})

testCulvert("HALT ends the program", async () => {
  const options: ServerOptions = { lines: ["management 127.0.0.1 7505"] }
  await using _server = await bench.serve(options)
  await using client = bench.connect(options)
  await client.ready()
  const command = "exec 3<>/dev/tcp/127.0.0.1/7505; echo 'client-kill 0 HALT,enough' >&3; head -n 2 <&3"
  await bench.lab.server.succeed(["bash", "-c", command])
  await eventually(10_000, "the client ends", () => !client.child.running)
  expect(await client.child.exited()).toBe(exitCode.gaveUp)
})
