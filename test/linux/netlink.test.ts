import { afterAll, beforeAll, expect, test } from "bun:test"
import { join } from "node:path"
import { succeed } from "../support/child.ts"

const namespace = `cv${process.pid}-netlink`
beforeAll(async () => void (await succeed(["ip", "netns", "add", namespace])))
afterAll(async () => void (await succeed(["ip", "netns", "del", namespace])))

test("changes of a table are announced by the generations that they made; of others nothing is said", async () => {
  const script = `
    import { closeFd, filterChanges, filterGeneration, openFilterWatch } from "${join(import.meta.dir, "../../src/linux/index.ts")}"
    import { execFileSync } from "node:child_process"
    const fd = openFilterWatch()
    const first = filterGeneration()
    const seen = []
    const look = () => seen.push([filterGeneration() - first, ...filterChanges(fd, "ours").map((generation) => generation - first)])
    look()
    for (const command of [
      "add table inet others",
      "add table inet ours",
      "add chain inet ours output",
      "add rule inet ours output accept",
      "delete table inet others",
    ]) {
      execFileSync("nft", [command])
      look()
    }
    execFileSync("nft", ["add rule inet ours output drop"])
    execFileSync("nft", ["add table inet others"])
    execFileSync("nft", ["flush ruleset"])
    look()
    look()
    closeFd(fd)
    console.log(JSON.stringify(seen))`
  const seen = await succeed(["ip", "netns", "exec", namespace, process.execPath, "-e", script])
  expect(JSON.parse(seen)).toEqual([[0], [1], [2, 2], [3, 3], [4, 4], [5], [8, 6, 8], [8]])
})

test("announcements that were lost are told", async () => {
  const script = `
    import { filterChanges, openFilterWatch, UNKNOWN_GENERATION } from "${join(import.meta.dir, "../../src/linux/index.ts")}"
    import { execFileSync } from "node:child_process"
    const fd = openFilterWatch()
    const lines = ["add table inet others", ...Array.from({ length: 8000 }, (_, number) => "add chain inet others c" + number)]
    execFileSync("nft", ["-f", "-"], { input: lines.map((line) => line + "\\n").join("") })
    console.log(JSON.stringify([filterChanges(fd, "ours"), filterChanges(fd, "ours"), UNKNOWN_GENERATION]))`
  expect(await succeed(["ip", "netns", "exec", namespace, process.execPath, "-e", script])).toBe("[[-1],[],-1]\n")
})

test("a change of routing is announced, but for that of one link and of one protocol", async () => {
  const script = `
    import { closeFd, hasRoutingChanged, links, openRoutingWatch } from "${join(import.meta.dir, "../../src/linux/index.ts")}"
    import { execFileSync } from "node:child_process"
    import { readFileSync } from "node:fs"
    const ip = (line) => execFileSync("ip", line.split(" "))
    ip("link add own type veth peer name other")
    // No address of its own is still to come when the link is up.
    for (const link of ["own", "other"]) ip(\`link set \${link} addrgenmode none\`)
    const isUp = (link) => readFileSync(\`/sys/class/net/\${link}/operstate\`, "utf8").trim() === "up"
    const fd = openRoutingWatch()
    const own = links().find(({ name }) => name === "own").index
    ip("link set other up")
    ip("link set own up")
    while (!["own", "other"].every(isUp)) await new Promise(setImmediate)
    // What the kernel does when a link is up is over before it takes another change.
    ip("link set own mtu 1500")
    hasRoutingChanged(fd, own, 149)
    const seen = {}
    for (const line of [
      "address add 10.9.0.2/24 dev own",
      "route add 10.10.0.0/16 via 10.9.0.1 proto 149",
      "route add 10.11.0.0/16 via 10.9.0.1",
      "route del 10.11.0.0/16 via 10.9.0.1",
      "-6 route add fd11::/64 dev own",
      "address add 10.8.0.2/24 dev other",
    ]) {
      ip(line)
      seen[line] = hasRoutingChanged(fd, own, 149)
    }
    closeFd(fd)
    console.log(JSON.stringify(Object.values(seen)))`
  const seen = await succeed(["ip", "netns", "exec", namespace, process.execPath, "-e", script])
  expect(JSON.parse(seen)).toEqual([false, false, true, true, true, true])
})
