/** A host that does not allow what is needed: one message with what it means and how to mend it, nobody ready, nothing half applied. */
import { afterEach, expect } from "bun:test"
import { dirname } from "node:path"
import { exitCode, project } from "../support/culvert.ts"
import { networkState, outer } from "../support/lab.ts"
import { ping } from "../support/traffic.ts"
import { after, unprivileged } from "../support/unprivileged.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench({ defaultRoute: true })

afterEach(() => bench.lab.client.finish(["nft", "delete", "table", "inet", "culvert"]))

/** An `nft` that says and does this, as a directory for PATH. */
const nft = (name: string, script: string) => dirname(bench.lab.write(`${name}/nft`, `#!/bin/sh\n${script}\n`, 0o755))
const says = (name: string, text: string) => nft(name, `echo '${text}' >&2; exit 1`)

/** What the real program says where the kernel has no netfilter netlink, no nf_tables, or not all of its parts; and where it is missing. */
for (const [what, path, hint] of [
  [
    "no netfilter netlink",
    () => says("no-netlink", "mnl.c:60: Unable to initialize Netlink socket: Protocol not supported"),
    /the kernel lacks nftables \(nf_tables/,
  ],
  [
    "no nf_tables",
    () => says("no-tables", "netlink: Error: cache initialization failed: Operation not supported"),
    /the kernel lacks nftables \(nf_tables/,
  ],
  [
    "a part of nf_tables missing",
    () => says("no-part", "/dev/stdin:9:1-13: Error: Could not process rule: No such file or directory"),
    /load these modules on the node/,
  ],
  ["no program nft", () => nft("no-program", "").replace(/$/, "-is-not-here"), /install the package nftables/],
] as const) {
  testCulvert(`${what}: the start is refused, and everything is as it was`, async () => {
    const { lab } = bench
    const state = await networkState(lab.client)
    const directory = path()
    // Only what the program itself needs: bun stands in its own directory.
    const programs = what === "no program nft" ? without("nft", directory) : `${directory}:${process.env.PATH}`
    await using client = bench.connect({}, {}, { environment: { PATH: programs } })
    expect(await client.child.exited()).toBe(exitCode.hostRefused)
    expect(client.events("failed")).toHaveLength(1)
    expect(client.events("failed")[0]?.message).toMatch(hint)
    expect(client.events("failed")[0]?.message).toContain("CULVERT_KILL_SWITCH=off")
    expect(await networkState(lab.client)).toBe(state)
    await ping(lab.client, outer.server.ipv4)
  })
}

testCulvert(
  "a kill switch that is asked for and cannot be set, for want of CAP_NET_ADMIN, is not done without",
  async () => {
    const { lab } = bench
    await lab.client.succeed(["ip", "tuntap", "add", "mode", "tun", "user", "nobody", "name", "tun5"])
    try {
      const state = await networkState(lab.client)
      const node = after("mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200")
      const run = { wrapper: [...node, ...unprivileged(project)], environment: { CULVERT_KILL_SWITCH: "on" } }
      await using client = bench.connect({}, { device: "tun5" }, run)
      expect(await client.child.exited()).toBe(exitCode.hostRefused)
      expect(client.events("failed")[0]?.message).toMatch(/CULVERT_KILL_SWITCH=on.*NET_ADMIN/)
      expect(await networkState(lab.client)).toBe(state)
    } finally {
      await lab.client.finish(["ip", "link", "delete", "tun5"])
    }
  },
)

testCulvert("the machine's own network is not cut off unasked", async () => {
  const { lab } = bench
  const state = await networkState(lab.client)
  // The kernel shows this file only in the network namespace in which the machine was started.
  const wrapper = after("mount -t tmpfs none /proc/sys/net/core && touch /proc/sys/net/core/netdev_max_backlog")
  {
    await using client = bench.connect({}, {}, { wrapper })
    expect(await client.child.exited()).toBe(exitCode.hostRefused)
    expect(client.events("failed")[0]?.message).toMatch(/network of the machine itself.*CULVERT_KILL_SWITCH=off/)
    expect(await networkState(lab.client)).toBe(state)
    expect(await lab.client.succeed(["nft", "list", "ruleset"])).toBe("")
  }
  await using _server = await bench.serve()
  for (const asked of ["on", "off"]) {
    await using client = bench.connect({}, {}, { wrapper, environment: { CULVERT_KILL_SWITCH: asked } })
    await client.ready()
    expect((await client.status()).killSwitch).toBe(asked)
    await client.stop()
  }
})

testCulvert("a table of somebody else that is in the way is named", async () => {
  const { lab } = bench
  await using _server = await bench.serve()
  const rules = lab.write(
    "foreign.nft",
    "table inet strict { chain out { type filter hook output priority 10; policy drop; oifname lo accept; }; }",
  )
  await lab.client.succeed(["nft", "-f", rules])
  try {
    await using client = bench.connect({}, { lines: ["connect-timeout 1"] })
    const { message } = await client.event("disconnected")
    expect(message).toContain("inet strict")
    expect(message).toContain("nft list ruleset")
    expect(await client.probe("/readyz")).toBe(503)
    await lab.client.succeed(["nft", "delete", "table", "inet", "strict"])
    await client.ready()
  } finally {
    await lab.client.finish(["nft", "delete", "table", "inet", "strict"])
  }
})

/** A directory with every program of PATH but one. */
function without(program: string, directory: string): string {
  const script = [
    `mkdir -p ${directory}`,
    `for d in $(echo "$PATH" | tr : " "); do ln -sn "$d"/* ${directory}/ 2>/dev/null; done`,
    `rm -f ${directory}/${program}`,
  ].join("; ")
  Bun.spawnSync(["sh", "-c", script])
  return directory
}
