/** Nothing that is secret leaves the program by another way than the one it is meant for. */
import { expect } from "bun:test"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()

testCulvert("a full debug run tells no secret: log, status, metrics, page, events", async () => {
  const user = { name: "ada.lovelace", password: "correct-horse-battery" }
  const controlToken = "control-token-0815-and-more"
  const options = {
    user,
    wrapping: { type: "tls-crypt" },
    keepalive: [1, 3],
    renegSec: 5,
    lines: ["auth-gen-token 600 60", "hand-window 20"],
  } as const
  await using server = await bench.serve(options)
  const environment = {
    CULVERT_LOG_LEVEL: "debug",
    CULVERT_CONTROL_TOKEN_FILE: bench.lab.write("control-token", controlToken, 0o600),
  }
  await using client = bench.connect(options, { lines: ["verb 11"] }, { environment })
  await client.ready()
  await client.event("renegotiated")
  await server.kill()
  await client.event("disconnected")
  await server.start()
  await client.event("connected", 20_000, 2)
  const answers = await Promise.all(["/", "/status", "/metrics", "/readyz?verbose"].map((path) => client.body(path)))
  const events = await bench.lab.client.finish(["curl", "-sN", "--max-time", "2", "http://127.0.0.1:4911/events"])
  await client.stop()

  const said = [client.child.output, ...answers, events.stdout].join("\n")
  expect(said).toContain('"event":"settings"')
  expect(events.stdout).toContain("event: status")
  const { client: certificate, staticKey } = bench.lab.pki
  const lines = (text: string) => text.split("\n").filter((line) => /^[0-9A-Za-z+/=]{16,}$/.test(line))
  const tokens = server.log.flatMap((line) => /PUSH_REPLY.*,auth-token ([^,\s']+)/.exec(line)?.[1] ?? [])
  const secrets = [user.password, user.name, controlToken, ...lines(certificate.key), ...lines(staticKey), ...tokens]
  expect(secrets.length).toBeGreaterThan(15)
  const told = secrets.filter((secret) =>
    [secret, Buffer.from(secret).toString("base64"), Buffer.from(secret).toString("hex")].some((form) =>
      said.includes(form),
    ),
  )
  expect(told).toEqual([])
})
