/**
 * `npm run demo`: a VPN server in one network namespace, Culvert in another, and real programs through the tunnel.
 * Everything that is printed was measured in this run; everything that was made is removed at the end and on Ctrl-C.
 */
import { type Child, eventually, succeed } from "../support/child.ts"
import { bun, Client, project, subject } from "../support/culvert.ts"
import { Lab, networkState, outer, sweep } from "../support/lab.ts"
import { clientConfiguration, OpenVpnServer, type ServerOptions, tunnel } from "../support/openvpn.ts"
import { download, iperf3, WebServer } from "../support/traffic.ts"

const begin = performance.now()
/** How the server's log tells that a client said good-bye, on the control or on the data channel. */
const farewell = /CC-EEN exit message received|remote-exit/

try {
  await demo()
  step("cleanup", "namespaces, processes and files of this run are removed")
} catch (error) {
  step("failed", error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}

async function demo(): Promise<void> {
  for (const name of sweep()) step("cleanup", `removed ${name}, left behind by a run that was killed`)
  process.on("SIGINT", () => step("stopping", "interrupted: removing namespaces and files"))

  await using lab = await Lab.make()
  step("lab", `namespaces ${lab.client.name} (client) and ${lab.server.name} (server), joined by a veth pair`)
  step("lab", `own certificate authority, server and client certificate and tls-crypt key in ${lab.directory}`)

  const options: ServerOptions = {
    wrapping: { type: "tls-crypt" },
    push: ["route 10.77.0.0 255.255.255.0", "route-ipv6 fd77::/64"],
  }
  await using server = await OpenVpnServer.start(lab, options)
  await using _web = await WebServer.start(lab)
  step("server", `${(await succeed(["openvpn", "--version"])).split(" [")[0]} listens on udp ${outer.server.ipv4}:1194`)

  const before = await networkState(lab.client)
  await using client = Client.start(lab, clientConfiguration(lab, options))
  step("client", `${subject} started in ${lab.client.name}`)
  const watching = watch(client)
  await client.ready()
  await report(lab)

  await ping(lab, tunnel.ipv4)
  await ping(lab, tunnel.ipv6)

  await withCapture(lab, async () => {
    const size = 20_000_000
    const start = performance.now()
    const seen = await download(lab.client, tunnel.ipv4, size)
    const seconds = (performance.now() - start) / 1000
    step("download", `${size / 1e6} MB in ${seconds.toFixed(2)} s, SHA-256 as expected; the web server saw ${seen}`)
    const up = await iperf3(lab, tunnel.ipv4, 3)
    step("iperf3", `client to server ${megabits(up.bitsPerSecond)} (TCP, 3 s)`)
    const down = await iperf3(lab, tunnel.ipv4, 3, ["-R"])
    step("iperf3", `server to client ${megabits(down.bitsPerSecond)} (TCP, 3 s)`)
  })

  const { code, milliseconds } = await client.stop()
  await watching
  step("stop", `SIGTERM: status ${code} after ${Math.round(milliseconds)} ms`)
  await eventually(5_000, "the server hears of it", () => server.log.some((line) => farewell.test(line)))
  step("stop", "the server received the exit notification")
  const undone = (await networkState(lab.client)) === before
  step("stop", `devices, addresses and routes of the client are ${undone ? "" : "NOT "}as they were before`)
  const cleared = subject !== "culvert" || (await clearFirewall(lab))
  if (code !== 0 || !undone || !cleared) process.exitCode = 1
}

/** Prints the status whenever it changes, until the client ends. */
async function watch(client: Client): Promise<void> {
  if (subject !== "culvert") return
  let last = ""
  while (client.child.running) {
    const status = await client.status().catch(() => undefined)
    const facts = [status?.remote, status?.tls, status?.cipher, status?.device, status?.addresses, status?.lastError]
    const text = status === undefined ? "" : [status.phase, ...facts].flat().filter(Boolean).join("  ")
    if (text !== "" && text !== last) step("status", text)
    last = text
    await Bun.sleep(100)
  }
}

async function report(lab: Lab): Promise<void> {
  const addresses = await lab.client.succeed(["ip", "-br", "address", "show", "type", "tun"])
  step("network", addresses.trim().replace(/\s+/g, "  "))
  for (const family of ["-4", "-6"]) {
    const routes = await lab.client.succeed(["ip", family, "route", "show"])
    const tun = routes.split("\n").filter((line) => /dev tun/.test(line))
    for (const line of tun) step("network", `route ${line.trim()}`)
  }
}

async function ping(lab: Lab, address: string): Promise<void> {
  const text = await lab.client.succeed(["ping", "-n", "-c", "5", "-i", "0.2", "-w", "10", address])
  const counts = /(\d+) packets transmitted, (\d+) received/.exec(text)
  const average = /= [\d.]+\/([\d.]+)\//.exec(text)?.[1]
  step("ping", `${address}: ${counts?.[2]} of ${counts?.[1]} answered, ${average} ms on average`)
}

/** The kill switch outlives the client on purpose: shows that, removes it, and says whether all went well. */
async function clearFirewall(lab: Lab): Promise<boolean> {
  const firewall = (command: string) => lab.client.succeed([bun, "src/main.ts", "firewall", command], { cwd: project })
  const reaches = async () => (await lab.client.finish(["ping", "-c", "1", "-w", "1", outer.server.ipv4])).code === 0
  const stays = (await firewall("show")).startsWith("The kill switch is on") && !(await reaches())
  step(
    "firewall",
    `the kill switch ${stays ? "stays: nothing leaves the namespace without the tunnel" : "did NOT stay"}`,
  )
  await firewall("clear")
  const gone = (await lab.client.succeed(["nft", "list", "ruleset"])) === "" && (await reaches())
  step("firewall", gone ? "culvert firewall clear: everything is as it was before" : "it could NOT be removed")
  return stays && gone
}

/** Watches the outer link while `transfer` runs: what is not OpenVPN's there has leaked. */
async function withCapture(lab: Lab, transfer: () => Promise<void>): Promise<void> {
  const vpn = `udp and host ${outer.server.ipv4} and port 1194`
  const captures = {
    tunnel: capture(lab, vpn),
    // The neighbours' address resolution belongs to the link itself.
    others: capture(lab, `(ip or ip6) and not (${vpn}) and not icmp6`),
  }
  await Promise.all(Object.values(captures).map((child) => child.line(/listening on/)))
  await transfer()
  const tunnelPackets = await captured(captures.tunnel)
  const others = await captured(captures.others)
  step("capture", `on the outer link meanwhile: ${tunnelPackets} OpenVPN packets, ${others} other IP packets`)
  if (others !== 0) process.exitCode = 1
}

/** Headers only: the count is what matters. As root: tcpdump would give the file that it writes, /dev/null, to its own user. */
function capture(lab: Lab, filter: string): Child {
  return lab.client.start("tcpdump", [
    "tcpdump",
    "-i",
    "outer",
    "-Z",
    "root",
    "-n",
    "-s",
    "64",
    "-B",
    "16384",
    "-w",
    "/dev/null",
    filter,
  ])
}

async function captured(child: Child): Promise<number> {
  await child.stop("SIGINT")
  const count = /^(\d+) packets? (?:captured|received by filter)/m.exec(child.output)?.[1]
  if (count === undefined) throw new Error(`tcpdump did not count: ${child.output}`)
  return Number(count)
}

function step(what: string, text: string): void {
  const seconds = ((performance.now() - begin) / 1000).toFixed(1)
  console.log(`${seconds.padStart(5)} s  ${what.padEnd(9)}${text}`)
}

function megabits(bitsPerSecond: number): string {
  return `${Math.round(bitsPerSecond / 1e6)} Mbit/s`
}
