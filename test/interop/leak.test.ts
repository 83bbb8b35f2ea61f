/**
 * Nothing of the application leaves the pod in plain text, in any phase: an application that never stops sending, in every way, and a
 * capture outside of its namespace. `LEAK_SECONDS` (1 unless said) is how long each phase is watched; `npm run leak` takes 60.
 */
import { expect } from "bun:test"
import { internet, sentBy, startApplication, startInternet } from "../support/application.ts"
import { type Child, eventually } from "../support/child.ts"
import { Client } from "../support/culvert.ts"
import { Leaks } from "../support/leaks.ts"
import { clientConfiguration, OpenVpnServer, type ServerOptions } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench({ defaultRoute: true })
const seconds = Number(process.env.LEAK_SECONDS ?? 1)
const options: ServerOptions = {
  keepalive: [1, 3],
  push: ["redirect-gateway def1 ipv6"],
}
const kinds = ["earlyTcp4", "earlyTcp6", "tcp4", "tcp6", "udp4", "udp6", "dns4", "dns6"]
const early = ["earlyTcp", "download", "answers", "udp"].flatMap((kind) => [`${kind}4`, `${kind}6`])
const raw = ["icmp4", "icmp6", "raw4", "raw6", "forged4"]

testCulvert(
  "from before the start until after SIGKILL, through reconnect, failover and restart",
  async () => {
    const { lab } = bench
    await using _internet = await startInternet(lab.server)
    await using leaks = await Leaks.watch(lab, [1194, 1195])
    await using application = await startApplication(lab.client)
    // Without a kill switch every kind comes out: the capture sees what it is there to see.
    for (const address of [internet.ipv4, internet.ipv6]) {
      for (const port of [8180, 8181, 9000, 53]) await leaks.sees(new RegExp(`> ${address}\\.${port}:`))
    }
    for (const kind of [
      /ICMP echo request/,
      /ICMP6, echo request/,
      /198\.51\.100\.1:.*253|unknown.*253|ip-proto-253/,
    ]) {
      await leaks.sees(kind)
    }
    await leaks.sees(new RegExp(`IP ${internet.forged}`))
    await eventually(5_000, "early connections carry data", () => {
      const { received } = sentBy(application)
      return early.every((kind) => (received[kind] ?? 0) > 0)
    })

    const text = clientConfiguration(lab, options).replace(/^(remote \S+) 1194$/m, "$1 1194\n$1 1195")
    const start = () => Client.start(lab, text.replace("client\n", "client\nconnect-timeout 2\n"))
    const watched = async <A>(phase: string, during: () => Promise<A>): Promise<A> => {
      const position = leaks.position
      const before = sentBy(application).tried
      const result = await during()
      await allTried(application, before)
      expect({ phase, leaks: leaks.since(position) }).toEqual({ phase, leaks: [] })
      return result
    }
    const quietly = () => Bun.sleep(seconds * 1000)

    let client = start()
    try {
      await client.event("kill_switch_on")
      await watched("no server yet", async () => {
        await client.event("retry_scheduled")
        await quietly()
      })
      const server = await OpenVpnServer.start(lab, options)
      await watched("connecting, connected", async () => {
        await client.ready()
        await carried(application)
        await quietly()
      })
      await watched("the server is killed", async () => {
        await server.kill()
        await client.event("disconnected", 20_000, client.events("disconnected").length + 1)
        await quietly()
      })
      const second = await OpenVpnServer.start(lab, { ...options, port: 1195 })
      await watched("failover to another server", async () => {
        await client.event("connected", 30_000, 2)
        await carried(application)
      })
      await watched("Culvert is killed", async () => {
        await client.stop("SIGKILL")
        await quietly()
      })
      await watched("started again in the same namespace", async () => {
        client = start()
        await client.ready(30_000)
        await carried(application)
      })
      await watched("the device is taken away", async () => {
        await lab.client.succeed(["ip", "link", "delete", "tun0"])
        await client.child.exited()
        await quietly()
      })
      await watched("started once more, stopped in order", async () => {
        client = start()
        await client.ready(30_000)
        await client.stop()
        await quietly()
      })
      await second.stop()
    } finally {
      await client.stop("SIGKILL")
    }
  },
  60_000 + 20_000 * seconds,
)

/** Every kind was sent again since. */
async function allTried(application: Child, before: Readonly<Record<string, number>>): Promise<void> {
  await eventually(10_000, "the application sends everything", () => {
    const { tried } = sentBy(application)
    return [...kinds, ...raw].every((kind) => (tried[kind] ?? 0) > (before[kind] ?? 0))
  })
}

/** New connections work: the application's packets come through the tunnel. */
async function carried(application: Child): Promise<void> {
  const before = sentBy(application).received
  await eventually(10_000, "the application is answered", () => {
    const { received } = sentBy(application)
    return ["tcp4", "tcp6"].every((kind) => (received[kind] ?? 0) > (before[kind] ?? 0))
  })
}
