import { afterAll, beforeAll, expect, test } from "bun:test"
import { join } from "node:path"
import { succeed } from "../support/child.ts"

const namespace = `cv${process.pid}-netlink`
beforeAll(async () => void (await succeed(["ip", "netns", "add", namespace])))
afterAll(async () => void (await succeed(["ip", "netns", "del", namespace])))

/** Runs `script` there by a `wrapper`; what it printed, which was JSON. */
async function inNamespace(script: string, wrapper: ReadonlyArray<string> = []): Promise<unknown> {
  const imports = `
    import * as linux from "${join(import.meta.dir, "../../src/linux/index.ts")}"
    import { execFileSync } from "node:child_process"
    import { readdirSync, readFileSync, readlinkSync } from "node:fs"
    const until = async (condition) => { while (!condition()) await Bun.sleep(1) }
    const sockets = () => readdirSync("/proc/self/fd").filter((fd) => {
      try { return readlinkSync("/proc/self/fd/" + fd).startsWith("socket:") } catch { return false }
    }).length
    const failed = (error) => { throw error }`
  const program = [process.execPath, "-e", `${imports}\n${script}`]
  const output = await succeed(["ip", "netns", "exec", namespace, ...wrapper, ...program])
  return JSON.parse(output)
}

test("changes of a table are announced by the generations that they made; of others nothing is said", async () => {
  const seen = await inNamespace(`
    const { filterGeneration, watchFilter } = linux
    const first = filterGeneration()
    // What one transaction did may come in parts.
    const heard = new Set()
    // Running a program leaves one behind, once.
    execFileSync("true")
    const before = sockets()
    const watch = watchFilter("ours", (generation) => heard.add(generation - first), failed)
    for (const command of [
      "add table inet others",
      "add table inet ours",
      "add chain inet ours output",
      "add rule inet ours output accept",
      "delete table inet others",
      "add rule inet ours output drop",
      "add table inet others",
      "flush ruleset",
    ]) execFileSync("nft", [command])
    await until(() => heard.has(8))
    watch.close()
    await until(() => sockets() === before)
    execFileSync("nft", ["add table inet ours"])
    await Bun.sleep(20)
    console.log(JSON.stringify([[...heard], filterGeneration() - first]))`)
  expect(seen).toEqual([[2, 3, 4, 6, 8], 9])
})

test("announcements that were lost are told, and what comes after them is heard", async () => {
  const seen = await inNamespace(`
    const { filterGeneration, watchFilter, UNKNOWN_GENERATION } = linux
    const heard = []
    const watch = watchFilter("mine", (generation) => heard.push(generation), failed)
    await Bun.sleep(20)
    const lines = ["add table inet others", ...Array.from({ length: 8000 }, (_, number) => "add chain inet others c" + number)]
    execFileSync("nft", ["-f", "-"], { input: lines.map((line) => line + "\\n").join("") })
    await until(() => heard.length > 0)
    execFileSync("nft", ["add table inet mine"])
    const last = filterGeneration()
    await until(() => heard.includes(last))
    watch.close()
    console.log(JSON.stringify(heard[0] === UNKNOWN_GENERATION))`)
  expect(seen).toBeTrue()
})

test("who has not the right to hear of the packet filter is told so", async () => {
  const script = `
    linux.watchFilter("ours", () => {}, (error) => console.log(JSON.stringify(error.message)))`
  const less = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
  expect(await inNamespace(script, less)).toMatch(/^bind netlink: .*EPERM/)
})

test("a change of routing is announced, but for that of one link and of one protocol", async () => {
  const seen = await inNamespace(`
    const { links, watchRouting } = linux
    const ip = (line) => execFileSync("ip", line.split(" "))
    ip("link add own type veth peer name other")
    // No address of its own is still to come when the link is up.
    for (const link of ["own", "other"]) ip(\`link set \${link} addrgenmode none\`)
    const isUp = (link) => readFileSync(\`/sys/class/net/\${link}/operstate\`, "utf8").trim() === "up"
    const own = links().find(({ name }) => name === "own").index
    let heard = false
    let heardAll = 0
    const watch = watchRouting({ link: own, protocol: 149 }, () => { heard = true }, failed)
    const watchAll = watchRouting(undefined, () => { heardAll++ }, failed)
    ip("link set other up")
    ip("link set own up")
    await until(() => ["own", "other"].every(isUp))
    // What the kernel does when a link is up is over before it takes another change.
    ip("link set own mtu 1500")
    await Bun.sleep(50)
    const seen = {}
    for (const line of [
      "address add 10.9.0.2/24 dev own",
      "route add 10.10.0.0/16 via 10.9.0.1 proto 149",
      "route add 10.11.0.0/16 via 10.9.0.1",
      "route del 10.11.0.0/16 via 10.9.0.1",
      "-6 route add fd11::/64 dev own",
      "address add 10.8.0.2/24 dev other",
    ]) {
      heard = false
      const before = heardAll
      ip(line)
      await until(() => heardAll > before)
      await Bun.sleep(5)
      seen[line] = heard
    }
    watch.close()
    watchAll.close()
    console.log(JSON.stringify(Object.values(seen)))`)
  expect(seen).toEqual([false, false, true, true, true, true])
})
