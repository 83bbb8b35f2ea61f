/** Both ways to a tun device, and what is said when there is none. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { join } from "node:path"
import { exitCode, project, subject } from "../support/culvert.ts"
import { networkState } from "../support/lab.ts"
import { after, unprivileged } from "../support/unprivileged.ts"
import { testCulvert, useBench } from "./bench.ts"

const bench = useBench()

const nobody = unprivileged(project)

/** Here /dev/net/tun is for root only; elsewhere its mode is 0666. */
function deviceForEverybody(): ReadonlyArray<string> {
  const node = join(bench.lab.directory, "tun")
  return after(`{ [ -e ${node} ] || mknod -m 0666 ${node} c 10 200; } && mount --bind ${node} /dev/net/tun`)
}

describe("preallocated by the administrator, used without any capability", () => {
  const configured = [
    "address add 10.66.0.2/24 dev tun5",
    "-6 address add fd66::1000/64 dev tun5 nodad",
    "link set tun5 up",
  ]
  beforeAll(async () => {
    const { client } = bench.lab
    await client.succeed("ip tuntap add mode tun user nobody name tun5".split(" "))
    for (const command of configured) await client.succeed(["ip", ...command.split(" ")])
  })
  afterAll(async () => {
    await bench.lab.client.succeed("ip tuntap delete mode tun name tun5".split(" "))
  })

  test("carries packets; addresses and routes stay the administrator's", async () => {
    const { lab } = bench
    const before = withoutCarrier(await networkState(lab.client))
    await using _server = await bench.serve()
    // The real client would run `ip` for the addresses and give up.
    const lines = subject === "openvpn" ? ["ifconfig-noexec", "route-noexec"] : []
    await using client = bench.connect({}, { device: "tun5", lines }, { wrapper: [...deviceForEverybody(), ...nobody] })
    await client.ready()
    await bench.carriesTraffic()
    if (subject === "culvert") {
      const said = client.events().map(({ message }) => message)
      expect(
        said.filter((message) => /address.*route.*administrator|administrator.*address.*route/i.test(message)),
      ).toHaveLength(1)
    }
    expect((await client.stop()).code).toBe(exitCode.stopped)
    expect(withoutCarrier(await networkState(lab.client))).toBe(before)
  })
})

test("made by root under the name that the file gives", async () => {
  await using _server = await bench.serve()
  await using client = bench.connect({}, { device: "tun7" })
  await client.ready()
  await bench.carriesTraffic()
  expect(await bench.lab.client.succeed(["ip", "link", "show", "tun7"])).toContain("tun7")
})

describe("a host without what is needed: status 71 and one message with the fix", () => {
  testCulvert("no /dev/net/tun", async () => {
    await using client = bench.connect({}, {}, { wrapper: after("mount -t tmpfs none /dev/net") })
    expect(await client.child.exited()).toBe(exitCode.hostRefused)
    expect(client.child.output).toMatch(/\/dev\/net\/tun/)
    expect(client.child.output).toMatch(/mknod|device plugin|mount/i)
    expect(client.child.output).not.toMatch(/^\s+at /m)
  })

  testCulvert("no CAP_NET_ADMIN", async () => {
    await using client = bench.connect({}, {}, { wrapper: [...deviceForEverybody(), ...nobody] })
    expect(await client.child.exited()).toBe(exitCode.hostRefused)
    expect(client.child.output).toMatch(/NET_ADMIN/)
    expect(client.child.output).not.toMatch(/^\s+at /m)
  })

  testCulvert("a device node that may not be opened", async () => {
    await using client = bench.connect({}, {}, { wrapper: nobody })
    expect(await client.child.exited()).toBe(exitCode.hostRefused)
    expect(client.child.output).toMatch(/\/dev\/net\/tun/)
  })
})

/** A preallocated device has a carrier while it is open, and the kernel's state of its routes follows. */
function withoutCarrier(state: string): string {
  return state
    .replace(/ linkdown| dead/g, "")
    .split("\n")
    .filter((line) => !/ff00::|fe80::/.test(line))
    .map((line) => line.trimEnd())
    .join("\n")
}
