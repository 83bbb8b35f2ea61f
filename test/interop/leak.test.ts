/**
 * Nothing of the application leaves the pod in plain text, in any phase: an application that never stops sending, in every way, and a
 * capture outside of its namespace. `LEAK_SECONDS` (0 unless said) is how long each phase is watched beyond what happens in it and
 * every kind of packet takes to be sent again; `npm run leak` takes 60.
 */
import { expect } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { internet, sentBy, startApplication, startInternet } from "../support/application.ts"
import { type Child, eventually } from "../support/child.ts"
import { Client } from "../support/culvert.ts"
import { Leaks } from "../support/leaks.ts"
import { clientConfiguration, OpenVpnServer, type ServerOptions } from "../support/openvpn.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench({ defaultRoute: true })
const seconds = Number(process.env.LEAK_SECONDS ?? 0)
const options: ServerOptions = {
  keepalive: [1, 3],
  push: ["redirect-gateway def1 ipv6", `dhcp-option DNS ${internet.ipv4}`],
}
const kinds = ["earlyTcp", "tcp", "udp", "dns", "name"].flatMap((kind) => [`${kind}4`, `${kind}6`])
const early = ["earlyTcp", "download", "answers", "udp"].flatMap((kind) => [`${kind}4`, `${kind}6`])
const raw = ["icmp4", "icmp6", "raw4", "raw6", "forged4"]

testCulvert(
  "from before the start until after SIGKILL, whatever happens in between",
  async () => {
    const { lab } = bench
    // The pod's own resolver is one that a leak would ask.
    writeFileSync(`/etc/netns/${lab.client.name}/resolv.conf`, `nameserver ${internet.resolver}\n`)
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
      /AAAA\? \d+\.www\.internet\.test/,
    ]) {
      await leaks.sees(kind)
    }
    await leaks.sees(new RegExp(`IP ${internet.forged}`))
    await eventually(5_000, "early connections carry data", () => {
      const { received } = sentBy(application)
      return early.every((kind) => (received[kind] ?? 0) > 0)
    })

    const text = clientConfiguration(lab, options)
      .replace(/^(remote \S+) 1194$/m, "$1 1194\n$1 1195")
      .replace("client\n", "client\nconnect-timeout 2\n")
    /** A client that crashes at SIGUSR2, in the part of that name. */
    const start = (part: "worker" | "http" | "dns") => {
      const environment = { BUN_OPTIONS: `--preload=${join(import.meta.dir, "../support/crash.ts")}`, CRASH: part }
      return Client.start(lab, text, { environment })
    }
    const watched = async (phase: string, during: () => Promise<unknown>): Promise<void> => {
      const position = leaks.position
      const before = sentBy(application).tried
      await during()
      await Bun.sleep(seconds * 1000)
      await allTried(application, before)
      expect({ phase, leaks: leaks.since(position) }).toEqual({ phase, leaks: [] })
    }
    const again = async (client: Client, event: string, cause: () => unknown) => {
      const count = client.events(event).length + 1
      await cause()
      await client.event(event, 30_000, count)
    }
    const comesBack = async (client: Client, cause: () => unknown) => {
      await again(client, "connected", cause)
      await carried(application)
    }

    let client = start("worker")
    try {
      await client.event("kill_switch_on")
      await watched("no server yet", () => client.event("retry_scheduled"))
      const server = await OpenVpnServer.start(lab, options)
      await watched("connecting, connected", async () => {
        await client.ready()
        await carried(application)
      })
      await watched("the server is silent, then there again", () =>
        comesBack(client, async () => {
          await again(client, "disconnected", () => server.suspend())
          server.resume()
        }),
      )
      await watched("reload", async () => {
        await again(client, "handed_over", () => client.child.signal("SIGHUP"))
        await carried(application)
      })
      await watched("the data plane's worker crashes", async () => {
        client.child.signal("SIGUSR2")
        await comesBack(client, () =>
          eventually(20_000, "a command to the worker", () => {
            client.child.signal("SIGHUP")
            return client.events("part_crashed").length > 0
          }),
        )
      })
      await watched("the server is down", () => again(client, "disconnected", () => server.kill()))
      const second = await OpenVpnServer.start(lab, { ...options, port: 1195 })
      await watched("failover to another server", () => comesBack(client, () => {}))
      // From the moment in which it is back: nobody can keep a process with NET_ADMIN from opening the pod for a moment.
      await again(client, "kill_switch_restored", () =>
        lab.client.succeed(["nft", "delete", "table", "inet", "culvert"]),
      )
      await watched("somebody has removed the table", () => carried(application))
      for (const part of ["http", "dns"] as const) {
        await watched("SIGKILL", () => client.stop("SIGKILL"))
        await watched("started again in the same namespace", async () => {
          client = start(part)
          await client.ready(30_000)
          await carried(application)
        })
        await watched(`the part ${part} crashes`, async () => {
          await again(client, "part_crashed", () => client.child.signal("SIGUSR2"))
          await client.becomes("/readyz", 200)
          await carried(application)
        })
      }
      await watched("the device is taken away", async () => {
        await lab.client.succeed(["ip", "link", "delete", "tun0"])
        await client.child.exited()
      })
      await watched("started once more, stopped in order", async () => {
        client = start("worker")
        await client.ready(30_000)
        await client.stop()
      })
      await second.stop()
    } finally {
      await client.stop("SIGKILL")
    }
  },
  120_000 + 30_000 * seconds,
)

/** Every kind was sent again since. */
async function allTried(application: Child, before: Readonly<Record<string, number>>): Promise<void> {
  await eventually(60_000, "the application sends everything", () => {
    const { tried } = sentBy(application)
    return [...kinds, ...raw].every((kind) => (tried[kind] ?? 0) > (before[kind] ?? 0))
  })
}

/** New connections work: the application's packets come through the tunnel. */
async function carried(application: Child): Promise<void> {
  const before = sentBy(application).received
  await eventually(60_000, "the application is answered", () => {
    const { received } = sentBy(application)
    return ["tcp4", "tcp6", "name4", "name6"].every((kind) => (received[kind] ?? 0) > (before[kind] ?? 0))
  })
}
