import { expect, test } from "bun:test"
import { exceptionsOf, udpPorts } from "../../src/tunnel/pod.ts"

test("the API server is an exception where kubelet names it, then what the user lists", () => {
  expect(
    exceptionsOf(["10.244.0.0/16"], { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "6443" }),
  ).toEqual([
    { network: "10.96.0.1", tcpPort: 6443, why: "the cluster's API server" },
    { network: "10.244.0.0/16", tcpPort: undefined, why: "CULVERT_BYPASS" },
  ])
  expect(exceptionsOf([], {})).toEqual([])
  expect(exceptionsOf([], { KUBERNETES_SERVICE_HOST: "not an address" })).toEqual([])
})

test("earlier UDP sockets: those whose port the kernel chose; servers keep being reached", () => {
  const table = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
  419: 0205F40A:9C40 010200C0:1F90 01 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0
  420: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 2 2 0 0
  421: 00000000000000000000000000000000:9C41 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 3 2 0 0
`
  expect(udpPorts(table, { first: 32768, last: 60999 })).toEqual([40000, 40001])
})
