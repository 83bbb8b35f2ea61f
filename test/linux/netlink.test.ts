import { afterAll, beforeAll, expect, test } from "bun:test"
import { join } from "node:path"
import { succeed } from "../support/child.ts"

const namespace = `cv${process.pid}-netlink`
beforeAll(async () => void (await succeed(["ip", "netns", "add", namespace])))
afterAll(async () => void (await succeed(["ip", "netns", "del", namespace])))

test("a change of the packet filter is announced once, by the table's name; of others nothing is said", async () => {
  const script = `
    import { closeFd, hasFilterChanged, openFilterWatch } from "${join(import.meta.dir, "../../src/linux/index.ts")}"
    import { execFileSync } from "node:child_process"
    const fd = openFilterWatch()
    const seen = []
    const look = () => seen.push(hasFilterChanged(fd, "ours"))
    look()
    for (const command of [
      "add table inet others",
      "add table inet ours",
      "add chain inet ours output",
      "add rule inet ours output accept",
      "delete table inet others",
      "flush ruleset",
    ]) {
      execFileSync("nft", [command])
      look()
    }
    look()
    closeFd(fd)
    console.log(JSON.stringify(seen))`
  const seen = await succeed(["ip", "netns", "exec", namespace, process.execPath, "-e", script])
  expect(JSON.parse(seen)).toEqual([false, false, true, true, true, false, true, false])
})
