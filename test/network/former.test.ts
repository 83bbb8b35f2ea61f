import { expect, test } from "bun:test"
import { planFormer } from "../../src/network/former.ts"

const via = { device: "eth0", gateway: "10.0.0.1" }

test("addresses of before stay on the device, and what is sent from them goes into the tunnel whatever the routes say", () => {
  const changes = planFormer({
    device: "tun0",
    addresses: ["10.8.0.2/24", "fd00:8::2/64"],
    server: { address: "192.0.2.1", via },
  })
  expect(changes.map(({ apply }) => apply)).toEqual([
    "route replace 192.0.2.1/32 via 10.0.0.1 dev eth0 proto 149",
    "address replace 10.8.0.2/32 dev tun0",
    "route replace 10.8.0.0/24 dev tun0 proto 149 metric 4912",
    "rule add from 10.8.0.2 lookup 4912 pref 4911",
    "route replace 0.0.0.0/0 dev tun0 proto 149 table 4912",
    "address replace fd00:8::2/64 dev tun0 nodad preferred_lft 0",
    "rule add from fd00:8::2 lookup 4912 pref 4911",
    "route replace ::/0 dev tun0 proto 149 table 4912",
  ])
})

test("one without a network, as of point to point, brings no route of it; a server without a known way none to it", () => {
  const changes = planFormer({
    device: "tun0",
    addresses: ["10.8.0.6/32"],
    server: { address: "192.0.2.1", via: undefined },
  })
  expect(changes.map(({ apply }) => apply)).toEqual([
    "address replace 10.8.0.6/32 dev tun0",
    "rule add from 10.8.0.6 lookup 4912 pref 4911",
    "route replace 0.0.0.0/0 dev tun0 proto 149 table 4912",
  ])
})

test("a preferred IPv6 address becomes one of before without being taken away", () => {
  const [, , , , , deprecated] = planFormer({
    device: "tun0",
    addresses: ["10.8.0.2/24", "fd00:8::2/64"],
    server: { address: "192.0.2.1", via },
  })
  // The line of a plan for the same address is taken back by the same one.
  expect(deprecated?.undo).toBe("address del fd00:8::2/64 dev tun0")
})
