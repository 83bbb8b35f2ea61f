/** What is refused before anything is sent: the file, the arguments. */
import { expect } from "bun:test"
import { bun, Client, exitCode, project } from "../support/culvert.ts"
import { clientConfiguration } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()

const culvert = (...parameters: ReadonlyArray<string>) =>
  bench.lab.client.finish([bun, "src/main.ts", ...parameters], { cwd: project })

testCulvert("every mistake of a file is told with line and column, status 78", async () => {
  const text = clientConfiguration(bench.lab, {}, { lines: ["hand-window soon", "data-cipherz AES-256-GCM"] })
  await using client = Client.start(bench.lab, text)
  expect(await client.child.exited()).toBe(exitCode.invalidConfiguration)
  for (const mistake of ["hand-window soon", "data-cipherz AES-256-GCM"]) {
    const line = text.split("\n").indexOf(mistake) + 1
    expect(client.child.output).toMatch(new RegExp(`client-\\d+\\.ovpn:${line}:\\d+: error: `))
  }
})

testCulvert("a file that is not there, status 78", async () => {
  const { code, stdout, stderr } = await culvert("start", "--config", "/nowhere/client.ovpn")
  expect(code).toBe(exitCode.invalidConfiguration)
  expect(stderr).toBe("")
  expect(JSON.parse(stdout)).toMatchObject({ level: "error", event: "failed", reason: "InvalidConfiguration" })
  expect(JSON.parse(stdout).message).toContain("/nowhere/client.ovpn:1:1: error: ")
})

testCulvert("wrong settings are one log line that names each of them, status 64", async () => {
  const { code, stdout, stderr } = await culvert("start", "--http", "nowhere", "--dns-mode", "magic")
  expect(code).toBe(exitCode.usage)
  expect(stderr).toBe("")
  expect(JSON.parse(stdout)).toMatchObject({ event: "failed", reason: "SettingsError" })
  for (const flag of ["--http", "--dns-mode"]) expect(JSON.parse(stdout).message).toContain(flag)
})

testCulvert("a file that proves nothing about the server (no ca, no fingerprint), status 78", async () => {
  const text = clientConfiguration(bench.lab, {}).replace(/<ca>[\s\S]*<\/ca>\n/, "")
  await using client = Client.start(bench.lab, text)
  expect(await client.child.exited()).toBe(exitCode.invalidConfiguration)
  expect(client.child.output).toMatch(/\bca\b/)
})

testCulvert("an unknown flag, status 64", async () => {
  const { code } = await culvert("start", "--confg", "x")
  expect(code).toBe(exitCode.usage)
})

testCulvert("connect-retry-max rounds without an answer, status 69", async () => {
  await using client = Client.start(
    bench.lab,
    clientConfiguration(bench.lab, {}, { lines: ["connect-retry-max 2", "connect-timeout 1"] }),
  )
  expect(await client.child.exited()).toBe(exitCode.gaveUp)
  expect(client.events("connecting")).toHaveLength(2)
})
