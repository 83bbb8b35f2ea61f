/**
 * A pod as Kubernetes has it, with the addresses of several network plugins: all of its traffic through the tunnel, and still
 * everything that comes to the pod is answered, also after SIGKILL and a restart; with one of them while the tunnel is down too.
 */
import { afterAll, beforeAll, describe, expect } from "bun:test"
import { internet } from "../support/application.ts"
import { Cluster, serverName, vpnDns, vpnName } from "../support/cluster.ts"
import { Client } from "../support/culvert.ts"
import { podShapes } from "../support/lab.ts"
import { Leaks } from "../support/leaks.ts"
import { clientConfiguration, type ServerOptions } from "../support/openvpn.ts"
import { after } from "../support/unprivileged.ts"
import { testCulvert, useBench } from "./bench.ts"

/** As in a container: nothing below /proc/sys can be written. */
const readOnlySysctl = after("mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys")

/** What the tunnel's device gets where the path to the server is that of the pod: less IP, UDP and the cipher's overhead. */
const deviceMtu = { calico: 1448, cilium: 1388, bridge: 1398, ipv6: 1428 } as const

for (const name of ["calico", "cilium", "bridge", "ipv6"] as const) {
  const shape = podShapes[name]
  describe(name, () => {
    const bench = useBench({ pod: shape })
    let cluster: Cluster
    beforeAll(async () => {
      cluster = await Cluster.start(bench.lab, shape)
    })
    afterAll(() => cluster?.[Symbol.asyncDispose]())

    testCulvert(
      "probes, Services, UDP, cluster names and API server work beside the tunnel, nothing leaks, twice after SIGKILL",
      async () => {
        const { lab } = bench
        const options: ServerOptions = {
          family: name === "ipv6" ? "ipv6" : "ipv4",
          push: ["redirect-gateway def1 ipv6", `dhcp-option DNS ${vpnDns}`],
          keepalive: [1, 4],
        }
        await using leaks = await Leaks.watch(lab, [1194], cluster.allowed)
        const start = () =>
          Client.start(lab, clientConfiguration(lab, options, { host: serverName }), {
            environment: cluster.environment,
            wrapper: readOnlySysctl,
          })
        let position: number | undefined
        await using server = await bench.serve(options)
        for (const round of [1, 2]) {
          const client = start()
          try {
            await client.event("kill_switch_on")
            position ??= leaks.position
            await client.ready()
            expect((await client.status()).mtu).toBe(deviceMtu[name])
            expect(await cluster.address(vpnName)).toBe(internet.ipv4)
            expect(await cluster.internet()).toEqual(["hello", "hello"])
            expect(await cluster.complaints()).toEqual([])
            if (round === 1 && name === "calico") {
              await server.kill()
              await client.event("disconnected")
              expect(await cluster.address(vpnName)).toBe("")
              expect(await cluster.internet()).toEqual(["", ""])
              expect(await cluster.complaints()).toEqual([])
              await server.start()
              await client.event("connected", 20_000, 2)
            }
          } finally {
            await client.stop("SIGKILL")
          }
          expect(await cluster.complaintsAlone()).toEqual([])
          expect(await cluster.internet()).toEqual(["", ""])
        }
        expect(leaks.since(position ?? 0)).toEqual([])
      },
      120_000,
    )
  })
}
