import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import {
  closeFd,
  effectiveCapabilities,
  hasNetAdmin,
  monotonicMilliseconds,
  openEventfd,
  openTun,
  SystemError,
  signalEventfd,
  takeEventfd,
} from "../../src/linux/index.ts"
import { finish, succeed } from "../support/child.ts"
import { project } from "../support/culvert.ts"
import { unprivileged } from "../support/unprivileged.ts"

test("the clock counts milliseconds and is the same in every process", async () => {
  // Each interval lies inside of the next: the two clocks run at the same pace, however busy the machine is.
  const outerStart = performance.now()
  const before = monotonicMilliseconds()
  const innerStart = performance.now()
  const script = `import { monotonicMilliseconds } from "${linux}"; console.log(monotonicMilliseconds())`
  const elsewhere = Number(await succeed([process.execPath, "-e", script]))
  const inner = performance.now() - innerStart
  const after = monotonicMilliseconds()
  const outer = performance.now() - outerStart
  expect(elsewhere).toBeGreaterThan(before)
  expect(elsewhere).toBeLessThan(after)
  expect(after - before).toBeGreaterThan(inner)
  expect(after - before).toBeLessThan(outer)
})

test("an eventfd counts its signals and is empty after they are taken", () => {
  const fd = openEventfd()
  expect(takeEventfd(fd)).toBe(0)
  signalEventfd(fd)
  signalEventfd(fd)
  expect(takeEventfd(fd)).toBe(2)
  expect(takeEventfd(fd)).toBe(0)
  closeFd(fd)
})

describe("capabilities", () => {
  test("CapEff is read from the status file", () => {
    expect(effectiveCapabilities("Name:\tx\nCapPrm:\tffff\nCapEff:\t0000000000001000\n")).toBe(0x1000n)
    expect(effectiveCapabilities("Name:\tx\n")).toBe(0n)
  })

  test("a process that lost them has no CAP_NET_ADMIN", async () => {
    const script = `import { hasNetAdmin } from "${linux}"; console.log(hasNetAdmin())`
    const without = [
      "setpriv",
      "--bounding-set",
      "-net_admin",
      "--inh-caps",
      "-net_admin",
      process.execPath,
      "-e",
      script,
    ]
    expect((await succeed(without)).trim()).toBe("false")
    expect(hasNetAdmin()).toBe(true)
  })
})

describe("tun", () => {
  const namespace = `cv${process.pid}-linux`
  beforeAll(async () => void (await succeed(["ip", "netns", "add", namespace])))
  afterAll(async () => void (await succeed(["ip", "netns", "del", namespace])))

  /** Runs a script in the namespace; what it prints is JSON. */
  const inNamespace = async (script: string, wrapper: ReadonlyArray<string> = []): Promise<unknown> => {
    const program = `import { openTun, tunFormat, setTunOffload, TunOffload, closeFd, Poll, POLLIN, readFd, writeFd, errno, errnoName, Arena } from "${linux}"
      import { execFileSync } from "node:child_process"
      const ip = (...words) => execFileSync("ip", words)
      const attempt = (work) => { try { return work() } catch (e) { return { syscall: e.syscall, code: e.code } } }
      ${script}`
    const command = ["ip", "netns", "exec", namespace, ...wrapper, process.execPath, "-e", program]
    const { code, stdout, stderr } = await finish(command)
    if (code !== 0) throw new Error(stderr)
    return JSON.parse(stdout)
  }

  test('"tun" lets the kernel choose the name, another name creates that device', async () => {
    const script = `const a = openTun({ name: "tun" }), b = openTun({ name: "tun" }), c = openTun({ name: "vpn" })
      console.log(JSON.stringify([a, b, c].map(({ name, created }) => ({ name, created }))))`
    expect(await inNamespace(script)).toEqual([
      { name: "tun0", created: true },
      { name: "tun1", created: true },
      { name: "vpn", created: true },
    ])
  })

  test("a preallocated device is attached to by its owner, who has no capability, and stays", async () => {
    await succeed(["ip", "-n", namespace, "tuntap", "add", "mode", "tun", "user", "nobody", "name", "tun5"])
    const device = `/tmp/${namespace}-tun`
    try {
      await succeed(["mknod", "-m", "0666", device, "c", "10", "200"])
      const script = `console.log(JSON.stringify([
        attempt(() => { const { fd, ...rest } = openTun({ name: "tun5", device: "${device}" }); return rest }),
        attempt(() => openTun({ name: "tun6", device: "${device}" })) ]))`
      expect(await inNamespace(script, unprivileged(project))).toEqual([
        { name: "tun5", created: false },
        { syscall: "ioctl TUNSETIFF", code: "EPERM" },
      ])
      await succeed(["ip", "-n", namespace, "link", "show", "tun5"])
    } finally {
      await finish(["rm", "-f", device])
      await succeed(["ip", "-n", namespace, "link", "del", "tun5"])
    }
  })

  test("a device that is in use, or of another kind, is refused with the kernel's reason", async () => {
    const script = `const held = openTun({ name: "tun3" })
      ip("tuntap", "add", "mode", "tap", "name", "tap1")
      ip("tuntap", "add", "mode", "tun", "multi_queue", "name", "tun9")
      console.log(JSON.stringify(["tun3", "tap1", "tun9", "lo", "a-name-of-16-byte"].map((name) => attempt(() => openTun({ name })))))
      ip("link", "del", "tap1"); ip("link", "del", "tun9")`
    const refused = (code: string) => ({ syscall: "ioctl TUNSETIFF", code })
    expect(await inNamespace(script)).toEqual([
      refused("EBUSY"),
      refused("EINVAL"),
      refused("EINVAL"),
      refused("EINVAL"),
      refused("EINVAL"),
    ])
  })

  test("packets have a virtio header in front; offloads are taken, and an unknown one is refused", async () => {
    const script = `const { fd } = openTun({ name: "tun8" })
      const { checksum, tso4, tso6, uso4, uso6 } = TunOffload
      console.log(JSON.stringify([tunFormat(fd), setTunOffload(fd, checksum | tso4 | tso6 | uso4 | uso6),
        setTunOffload(fd, 0x4000), tunFormat(0)]))`
    const format = { hasHeader: true, isEthernet: false }
    expect(await inNamespace(script)).toEqual([format, true, false, { hasHeader: false, isEthernet: false }])
  })

  test("a tap device carries whole frames, without a virtio header; a tun device is none", async () => {
    const script = `const { fd, name } = openTun({ name: "tap", type: "tap" })
      ip("link", "set", name, "up")
      ip("tuntap", "add", "mode", "tun", "name", "tun4")
      console.log(JSON.stringify([name, tunFormat(fd), attempt(() => openTun({ name: "tun4", type: "tap" })),
        execFileSync("ip", ["-details", "link", "show", name], { encoding: "utf8" }).includes("link/ether")]))
      ip("link", "del", "tun4")`
    expect(await inNamespace(script)).toEqual([
      "tap0",
      { hasHeader: false, isEthernet: true },
      { syscall: "ioctl TUNSETIFF", code: "EINVAL" },
      true,
    ])
  })

  test("one that is down is quiet in poll and refuses packets; a deleted one reports an error", async () => {
    const script = `const { fd } = openTun({ name: "tun7" })
      const poll = new Poll(1), memory = new Arena(4096).allocate(2048)
      memory.bytes[10] = 0x45 // behind the virtio header
      const probe = () => {
        poll.set(0, fd, POLLIN)
        const events = poll.wait(0) === 0 ? 0 : poll.events(0)
        const read = readFd(fd, memory.address, 2048) < 0 ? errnoName(errno()) : "packet"
        const write = writeFd(fd, memory.address, 38) < 0 ? errnoName(errno()) : "written"
        return { events, read, write }
      }
      const down = probe(); ip("link", "del", "tun7"); console.log(JSON.stringify([down, probe()]))`
    expect(await inNamespace(script)).toEqual([
      { events: 0, read: "EAGAIN", write: "EIO" },
      { events: 8, read: "EBADFD", write: "EBADFD" },
    ])
  })

  test("a device node that is missing or is no tun is named with the reason", () => {
    const attempt = (device: string): SystemError => {
      try {
        closeFd(openTun({ name: "tun", device }).fd)
      } catch (error) {
        if (error instanceof SystemError) return error
      }
      throw new Error("no SystemError")
    }
    expect(attempt("/nonexistent/tun").message).toBe("open /nonexistent/tun: ENOENT")
    expect(attempt("/dev/null").message).toBe("ioctl TUNSETIFF: ENOTTY")
  })
})

const linux = new URL("../../src/linux/index.ts", import.meta.url).pathname
