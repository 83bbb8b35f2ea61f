/** The work that the kernel does in large pieces: what becomes of it is told, and without it the tunnel carries the same. */
import { describe, expect } from "bun:test"
import { offloadNames } from "../../src/dataplane/offload.ts"
import { eventually } from "../support/child.ts"
import type { Client } from "../support/culvert.ts"
import { disabledOffloads } from "../support/offloads.ts"
import { tunnel } from "../support/openvpn.ts"
import { iperf3, upload } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const told = (client: Client) => client.events("offload").map(({ offload, on }) => `${offload} ${on ? "on" : "off"}`)

describe("on a link like any other", () => {
  const bench = useBench()

  testCulvert("each is on unless the environment says otherwise, and said once", async () => {
    await using _server = await bench.serve()
    await using client = bench.connect({})
    await client.ready()
    await bench.carriesTraffic()
    const off = disabledOffloads()
    expect(told(client).sort()).toEqual(
      offloadNames.map((name) => `${name} ${off.includes(name) ? "off" : "on"}`).sort(),
    )
  })

  testCulvert.each(["tso", "uso", "udp-segment", "udp-gro", "tso,uso,udp-segment,udp-gro"])(
    "switched off by the settings, with traffic both ways: %s",
    async (names) => {
      await using _server = await bench.serve()
      await using client = bench.connect({}, {}, { environment: { CULVERT_DISABLE_OFFLOADS: names } })
      await client.ready()
      await bench.carriesTraffic()
      await upload(bench.lab.client, tunnel.ipv6, 1_000_000)
      const off = told(client).filter((text) => text.endsWith(" off"))
      expect(off.sort()).toEqual(
        names
          .split(",")
          .map((name) => `${name} off`)
          .sort(),
      )
    },
  )
})

describe("on a path whose packets are smaller than the datagrams", () => {
  const bench = useBench({ mtu: 1300 })

  const isGiven = !disabledOffloads().includes("udp-segment")
  testCulvert.if(isGiven)("datagrams go singly, in fragments, and nothing else changes", async () => {
    await using _server = await bench.serve()
    await using client = bench.connect({})
    await client.ready()
    await bench.carriesTraffic()
    // The tun's MTU is the least that IPv6 allows: TCP stays below what fits, these do not.
    const { total, lost } = await iperf3(bench.lab, tunnel.ipv4, 1, ["-u", "-b", "100M", "-l", "1250"])
    expect(lost).toBeLessThan(total)
    await eventually(5000, "udp-segment is given up", () => told(client).includes("udp-segment off"))
    expect(client.events("offload").at(-1)!.message).toMatch(
      /udp-segment: off \(sendmmsg: (EMSGSIZE|EINVAL) for datagrams of/,
    )
    await bench.carriesTraffic()
  })
})
