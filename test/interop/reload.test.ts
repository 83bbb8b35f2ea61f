/** A changed configuration or credential while the tunnel is up, in files as a pod has them. */
import { expect } from "bun:test"
import { join } from "node:path"
import { Client } from "../support/culvert.ts"
import { networkState } from "../support/lab.ts"
import { Leaks } from "../support/leaks.ts"
import { clientConfiguration, type ServerOptions } from "../support/openvpn.ts"
import { Volume } from "../support/volume.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()

const start = (configuration: Volume, environment: Readonly<Record<string, string>> = {}) =>
  Client.startFile(bench.lab, join(configuration.path, "client.ovpn"), { environment })

testCulvert(
  "another server in the ConfigMap: the connection moves there, device and routes stay, nothing leaks",
  async () => {
    const { lab } = bench
    const [first, second]: ReadonlyArray<ServerOptions> = [
      { port: 1194, push: ["redirect-gateway def1"] },
      { port: 1195, push: ["redirect-gateway def1"], lines: ["server 10.66.0.0 255.255.255.0"] },
    ]
    await using one = await bench.serve(first)
    const volume = new Volume(join(lab.directory, "moved"), { "client.ovpn": clientConfiguration(lab, first!) })
    await using client = start(volume)
    await client.ready()
    await using leaks = await Leaks.watch(lab, [1194, 1195])
    const during = await networkState(lab.client)
    await one.stop()
    await using _ = await bench.serve(second)
    volume.replace({ "client.ovpn": clientConfiguration(lab, second!) })
    expect((await client.event("reloaded")).reason).toBe("changed files")
    await client.event("handed_over")
    await client.becomes("/readyz", 200)
    await bench.carriesTraffic()
    expect(await networkState(lab.client)).toBe(during)
    expect(leaks.since(0)).toEqual([])
  },
)

testCulvert(
  "an invalid file changes nothing and is said; SIGHUP with a valid one makes the connection anew",
  async () => {
    const { lab } = bench
    const options: ServerOptions = {}
    await using _ = await bench.serve(options)
    const text = clientConfiguration(lab, options)
    const volume = new Volume(join(lab.directory, "invalid"), { "client.ovpn": text })
    await using client = start(volume)
    await client.ready()
    volume.replace({ "client.ovpn": text.replace("remote-cert-tls server", "remote-cert-tls sever") })
    const refused = await client.event("reload_refused")
    expect(refused.message).toMatch(/client\.ovpn:\d+:\d+: error: .*sever/)
    await bench.carriesTraffic()
    expect(client.events("connected")).toHaveLength(1)
    expect(client.events("disconnected")).toHaveLength(0)
    client.child.signal("SIGHUP")
    expect((await client.event("reload_refused", 5_000, 2)).reason).toBe("SIGHUP")
    volume.replace({ "client.ovpn": text })
    client.child.signal("SIGHUP")
    await client.event("handed_over")
    await bench.carriesTraffic()
    expect((await client.stop()).code).toBe(0)
  },
)

testCulvert("a rotated password is used for the next login, without a start anew", async () => {
  const { lab } = bench
  const user = { name: "anna", password: "second" }
  const options: ServerOptions = { user, clientCertificate: "none" }
  await using _ = await bench.serve(options)
  const text = `${clientConfiguration(lab, options, { certificate: "none" }).replace(/<auth-user-pass>[\s\S]*<\/auth-user-pass>/, "auth-user-pass")}auth-retry nointeract\n`
  const configuration = new Volume(join(lab.directory, "login"), { "client.ovpn": text })
  const credentials = new Volume(join(lab.directory, "credentials"), { username: "anna", password: "first" })
  await using client = start(configuration, { CULVERT_CREDENTIALS: credentials.path })
  await client.event("auth_failed")
  credentials.replace({ username: "anna", password: "second" })
  expect((await client.event("reloaded")).reason).toBe("changed files")
  await client.event("connected")
  expect(client.events("auth_failed")).toHaveLength(1)
  await bench.carriesTraffic()
})
