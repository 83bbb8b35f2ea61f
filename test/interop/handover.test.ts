/**
 * A new connection takes over from the one that is up, and what passes does not notice. `HANDOVERS=10` is the long form: so many in
 * a row under load, over every transport, and the wait until the last old connection has ended.
 */
import { expect } from "bun:test"
import { mkdirSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { eventually } from "../support/child.ts"
import { Client } from "../support/culvert.ts"
import { networkState } from "../support/lab.ts"
import { clientConfiguration, type OpenVpnServer, type ServerOptions, tunnel } from "../support/openvpn.ts"
import { fullQueues, iperf3, ping } from "../support/traffic.ts"
import { Volume } from "../support/volume.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()
const isLong = process.env.HANDOVERS !== undefined
const times = Number(process.env.HANDOVERS ?? 1)

/** Sequence-numbered datagrams, 1,000 a second both ways, and a TCP stream beside them, in pieces that fill no queue. */
const load = async (seconds: number) => {
  const datagrams = ["-u", "-b", "1600K", "-l", "200", "-w", "1M"]
  const [up, down, stream] = await Promise.all([
    iperf3(bench.lab, tunnel.ipv4, seconds, datagrams),
    iperf3(bench.lab, tunnel.ipv6, seconds, [...datagrams, "-R"], 5202),
    iperf3(bench.lab, tunnel.ipv4, seconds, ["-b", "10M", "-l", "4K"], 5203),
  ])
  return { up, down, stream }
}

const handOver = async (client: Client) => {
  for (let done = 1; done <= times; done++) {
    client.child.signal("SIGHUP")
    await client.event("handed_over", 20_000, done)
  }
}

/** What ends with the old connection: its socket, its ways. */
const held = async (client: Client) => ({
  descriptors: readdirSync(`/proc/${client.child.pid}/fd`).length,
  network: await networkState(bench.lab.client),
})

/** Of packets that were not the server's to take: from an address of another session, or under a key of one. */
const complaints = ({ log }: OpenVpnServer) =>
  log.filter((line) => /bad source address|Authenticate\/Decrypt|key not available|bad packet ID/.test(line))

/** An address for whoever comes. */
const fixedAddress = (): ServerOptions => {
  const directory = join(bench.lab.directory, "clients")
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, "DEFAULT"), "ifconfig-push 10.66.0.77 255.255.255.0\nifconfig-ipv6-push fd66::77/64\n")
  return { lines: [`client-config-dir ${directory}`] }
}

for (const transport of ["udp", "tcp"] as const)
  for (const { name, options, sessions } of [
    {
      name: "one session for each certificate",
      options: () => ({ duplicateCn: false }),
      sessions: "one",
    },
    { name: "several sessions that share a fixed address", options: fixedAddress, sessions: "one" },
    { name: "several sessions, each with an address of the pool", options: () => ({}), sessions: "two" },
  ])
    testCulvert(
      `${transport}, ${name}: ${times} handovers in a row under load, and not a packet is lost`,
      async () => {
        const server: ServerOptions = { ...options(), transport }
        await using openvpn = await bench.serve(server)
        await using client = bench.connect(server)
        await client.ready()
        const before = await held(client)
        const full = await fullQueues(bench.lab)
        const seconds = 3 + 2 * (times - 1)
        const [flows] = await Promise.all([load(seconds), Bun.sleep(1000).then(() => handOver(client))])
        // On a busy machine a reader comes too late and the kernel's queues overflow: it counts those, and they are not ours.
        const late = (await fullQueues(bench.lab)) - full
        const lost = flows.up.lost + flows.down.lost
        if (isLong) console.log(`${transport}, ${name}: ${JSON.stringify(flows)}, ${lost} lost, ${late} late`)
        expect({ lost: Math.max(0, lost - late), complaints: complaints(openvpn) }).toEqual({ lost: 0, complaints: [] })
        for (const { total } of [flows.up, flows.down]) expect(total).toBeGreaterThan(seconds * 500)
        expect(flows.stream.bitsPerSecond).toBeGreaterThan(1e6)
        expect(client.events("handed_over").map((event) => event.sessions)).toEqual(Array(times).fill(sessions))
        expect(client.events("disconnected")).toHaveLength(0)
        if (sessions === "two" && !isLong) return
        await eventually(60_000, "all is as it was", async () => {
          const { descriptors, network } = await held(client)
          // Those of programs that have ended are closed when their memory is collected.
          expect(descriptors).toBeLessThanOrEqual(before.descriptors)
          // The pool gives another address each time.
          const anonymous = (text: string) => text.replace(/10\.66\.0\.\d+/g, "X").replace(/fd66::1\w+/g, "X")
          expect(anonymous(network)).toBe(anonymous(before.network))
          return true
        })
        expect((await client.stop()).code).toBe(0)
      },
      60_000 + times * 10_000,
    )

const token = "c0ffee-c0ffee-c0ffee"

testCulvert("a credential that is wrong costs nothing; the right one is used at once, and on request", async () => {
  const { lab } = bench
  const options: ServerOptions = { user: { name: "anna", password: "first" }, clientCertificate: "none" }
  await using _ = await bench.serve(options)
  const text = clientConfiguration(lab, options, { certificate: "none" }).replace(
    /<auth-user-pass>[\s\S]*<\/auth-user-pass>/,
    "auth-user-pass",
  )
  const credentials = new Volume(join(lab.directory, "credentials"), { username: "anna", password: "first" })
  const environment = {
    CULVERT_CREDENTIALS: credentials.path,
    CULVERT_CONTROL_TOKEN_FILE: lab.write("token", token, 0o600),
  }
  await using client = Client.start(lab, text, { environment })
  await client.ready()
  const stream = iperf3(lab, tunnel.ipv4, 6, ["-b", "20M"])
  credentials.replace({ username: "anna", password: "wrong" })
  const refused = await client.event("handover_failed")
  expect(refused).toMatchObject({ stays: true, message: expect.stringContaining("the present connection stays") })
  const { phase, handover, lastHandover } = await client.status()
  expect({ phase, handover }).toEqual({ phase: "connected", handover: undefined })
  expect(lastHandover).toMatchObject({ ok: false, message: refused.message })
  expect(await client.body("/metrics")).toContain('\nopenvpn_client_last_handover_timestamp_seconds{result="failure"} ')
  credentials.replace({ username: "anna", password: "first" })
  expect((await client.event("reloaded", 20_000, 2)).reason).toBe("changed files")
  await client.event("handed_over")
  const authorization = `Authorization: Bearer ${token}`
  await lab.client.succeed(["curl", "-sf", "-X", "POST", "-H", authorization, "http://127.0.0.1:4912/reconnect"])
  await client.event("handed_over", 20_000, 2)
  expect((await stream).bitsPerSecond).toBeGreaterThan(1e6)
  expect(client.events("disconnected")).toHaveLength(0)
  expect(client.events("auth_failed")).toHaveLength(0)
})

testCulvert(
  "another list of servers: both are open until the new one has taken over, and a stream of before goes on",
  async () => {
    const { lab } = bench
    const options: ServerOptions = {}
    const other: ServerOptions = {
      port: 1195,
      lines: ["server 10.67.0.0 255.255.255.0", "server-ipv6 fd67::/64"],
    }
    await using first = await bench.serve(options)
    await using second = await bench.serve(other)
    const files = new Volume(join(lab.directory, "list"), { "client.ovpn": clientConfiguration(lab, options) })
    await using client = Client.startFile(lab, join(files.path, "client.ovpn"))
    await client.ready()
    second.suspend()
    const stream = iperf3(lab, tunnel.ipv4, 8, ["-b", "20M"])
    files.replace({ "client.ovpn": clientConfiguration(lab, other) })
    await client.event("handover_started")
    await eventually(10_000, "both ways", async () => {
      expect(await ways()).toEqual(["1194", "1195"])
      return true
    })
    expect(await client.status()).toMatchObject({ phase: "connected", handover: { since: expect.any(Number) } })
    expect(await client.body("/metrics")).toContain("\nopenvpn_client_handover_running 1\n")
    second.resume()
    const handedOver = await client.event("handed_over")
    expect(handedOver.addresses).toEqual(["10.67.0.2/24", "fd67::1000/64"])
    expect((await client.status()).lastHandover).toMatchObject({ ok: true, message: handedOver.message })
    await ping(lab.client, "10.67.0.1")
    await ping(lab.client, "fd67::1")
    expect((await stream).bitsPerSecond).toBeGreaterThan(1e6)
    expect(client.events("disconnected")).toHaveLength(0)
    expect(first.log.filter((line) => /bad source address/.test(line))).toEqual([])
  },
)

/** Ports of the servers that the kill switch lets packets to. */
const ways = async (): Promise<ReadonlyArray<string>> => {
  const table = await bench.lab.client.succeed(["nft", "list", "chain", "inet", "culvert", "output"])
  return [...table.matchAll(/to the VPN server: \S+ \S+ port (\d+)/g)].map((match) => match[1]!).sort()
}
