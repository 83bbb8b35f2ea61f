/**
 * `bun run bench [--short] [--only client,pair,micro] [--root DIRECTORY] [--congestion NAME]`: Culvert beside OpenVPN in one run.
 * Prints a table and writes `bench/report.md` and `bench/throughput.svg`. `--short` takes some two minutes and writes nothing; `--root`
 * runs the programs in another userland, such as one that `debootstrap trixie DIRECTORY` made (`docs/performance.md` has the
 * command), and `--congestion` names the congestion control of all TCP connections: both write files of their own.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { cpus, release, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { finish, succeed } from "../test/support/child.ts"
import { bun, project } from "../test/support/culvert.ts"
import { sweep } from "../test/support/lab.ts"
import type { Micro } from "./micro.ts"
import { type Facts, markdown, microTable, svg, table } from "./report.ts"
import { compile, type Wrapper } from "./rivals.ts"
import { againstServer, atBothEnds, type Plan, Results } from "./tunnels.ts"

const { values: options } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    only: { type: "string", default: "client,pair,micro" },
    root: { type: "string" },
    congestion: { type: "string" },
  },
})
const wrap = userland(options.root)
const only = new Set(options.only.split(","))
const load = readFileSync("/proc/loadavg", "utf8").split(" ").slice(0, 3).join(" ")
const begin = performance.now()
const directory = mkdtempSync(join(tmpdir(), `cv${process.pid}-`))
process.on("exit", () => rmSync(directory, { recursive: true }))
const plan: Plan = {
  ...(options.short ? { rounds: 1, seconds: 1, pings: 50 } : { rounds: 3, seconds: 4, pings: 300 }),
  wrap,
  congestionControl: options.congestion ?? lossBased(),
  program: await compile(directory),
  say: (text) => console.error(`${((performance.now() - begin) / 1000).toFixed(0).padStart(4)} s  ${text}`),
}

sweep()
const results = new Results()
if (only.has("pair")) await atBothEnds(plan, results)
if (only.has("client")) await againstServer(plan, results)
const facts = await gather()
console.log(`\n${facts.machine.join("\n")}\n\n${table(results)}\n\n${microTable(facts)}`)
if (!options.short) {
  const { root, congestion } = options
  const suffix = (root === undefined ? "" : "-root") + (congestion === undefined ? "" : `-${congestion}`)
  writeFileSync(join(project, `bench/throughput${suffix}.svg`), svg(results))
  writeFileSync(join(project, `bench/report${suffix}.md`), markdown(results, facts, `throughput${suffix}.svg`))
}

async function gather(): Promise<Facts> {
  const micro = only.has("micro")
    ? (JSON.parse(await succeed(wrap([bun, join(project, "bench/micro.ts")]))) as Micro)
    : undefined
  const speeds = micro === undefined ? [] : [await opensslSpeed(1400), await opensslSpeed(92)]
  const version = async (command: ReadonlyArray<string>) =>
    (await finish(wrap(command))).stdout.split("\n")[0]!.replace(/ \[.*/, "")
  return {
    machine: [
      `${cpus().length} cores of ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`,
      `${await version(["openvpn", "--version"])}, ${await version(["openssl", "version"])}, Bun ${Bun.version}`,
      `AES-256-GCM; full packets of 1464 bytes of UDP at both pairs' ends (OpenVPN's own choice; tun MTU 1440 for Culvert)`,
      `congestion control of all TCP: ${plan.congestionControl}`,
      `load of the machine before: ${load}`,
    ],
    command: `bun run bench ${process.argv.slice(2).join(" ")}`.trim(),
    micro,
    opensslSpeed: Object.fromEntries(speeds),
  }
}

/**
 * What Linux has unless a machine is set otherwise, or, where a namespace may not have that, the other one that does not pace: a timer
 * for each packet, as BBR has it, costs a virtual machine more than the packet.
 */
function lossBased(): string {
  const allowed = readFileSync("/proc/sys/net/ipv4/tcp_allowed_congestion_control", "utf8").trim().split(" ")
  return allowed.includes("cubic") ? "cubic" : "reno"
}

async function opensslSpeed(size: number): Promise<readonly [string, number]> {
  const command = ["openssl", "speed", "-seconds", "1", "-aead", "-evp", "aes-256-gcm", "-bytes", String(size)]
  const output = await succeed(wrap(command))
  const thousands = Number(/AES-256-GCM\s+([\d.]+)k/i.exec(output)?.[1])
  return [`AES-256-GCM, ${size} bytes`, (size / (thousands * 1000)) * 1e9]
}

/** Enters `root` with this project, the labs' files and the devices in it; the mounts end with the command. */
function userland(root: string | undefined): Wrapper {
  if (root === undefined) return (command) => command
  const binds = [project, "/tmp", "/dev"].map((path) => `mkdir -p "$R${path}"; mount --rbind ${path} "$R${path}"`)
  const script = [...binds, 'mount -t proc proc "$R/proc"', 'exec chroot "$R" "$@"'].join(" && ")
  return (command) => ["unshare", "-m", "env", `R=${root}`, "sh", "-c", script, "sh", ...command]
}
