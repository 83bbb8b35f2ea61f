import { expect, test } from "bun:test"
import { forwarding, originalOf, parseResolvConf } from "../../src/network/resolvconf.ts"

const original = `# made by kubelet
nameserver 10.96.0.10
nameserver fd96::a
search team.svc.cluster.local svc.cluster.local cluster.local
options ndots:5 timeout:2
`

test("what a pod's file says", () => {
  expect(parseResolvConf(original)).toEqual({
    nameservers: ["10.96.0.10", "fd96::a"],
    search: ["team.svc.cluster.local", "svc.cluster.local", "cluster.local"],
    options: ["ndots:5", "timeout:2"],
  })
  expect(parseResolvConf("nameserver\nnameserver x;y\nsearch a\ndomain b\n")).toEqual({
    nameservers: [],
    search: ["b"],
    options: [],
  })
})

test("our file keeps search list and options, adds the server's domains, and remembers the original", () => {
  const ours = forwarding(original, "127.0.0.1", ["corp.example", "cluster.local"])
  const lines = ours.split("\n").filter((line) => line !== "" && !line.startsWith("#"))
  expect(lines).toEqual([
    "nameserver 127.0.0.1",
    "search team.svc.cluster.local svc.cluster.local cluster.local corp.example",
    "options ndots:5 timeout:2",
  ])
  expect(parseResolvConf(ours)).toEqual(parseResolvConf(original))
  expect(originalOf(ours)).toBe(original)
  expect(originalOf(original)).toBeUndefined()
})

test("a restart that finds our file writes the same again", () => {
  const ours = forwarding(original, "127.0.0.1", [])
  expect(forwarding(ours, "127.0.0.1", [])).toBe(ours)
})
