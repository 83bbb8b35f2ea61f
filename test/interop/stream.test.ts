/**
 * An independent observer at both ends: what goes into the tunnel in pieces of 64 KiB comes out at the other end as the same
 * stream. `STREAM_BYTES` (5 million unless said) is how much goes each way; `npm run stream` takes a gigabyte.
 */
import { expect } from "bun:test"
import { Capture } from "../support/capture.ts"
import { eventually } from "../support/child.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import { download, upload } from "../support/traffic.ts"
import { testCulvert, useBench } from "./bench.ts"

const bytes = Number(process.env.STREAM_BYTES ?? 5_000_000)
/** Of one connection. */
const piece = Math.min(bytes, 25_000_000)
const bench = useBench()

for (const transport of ["udp", "tcp"] as const) {
  testCulvert(
    `tcpdump sees the same streams at both ends, over ${transport}`,
    async () => {
      const { lab } = bench
      const options: ServerOptions = { transport }
      await using _server = await bench.serve(options)
      await using client = bench.connect(options)
      await client.ready()
      const { device = "" } = await client.status()
      await using near = await Capture.start(lab.client, device)
      await using far = await Capture.start(lab.server, await tunnelDevice())
      for (let done = 0; done < bytes; done += piece) {
        await upload(lab.client, tunnel.ipv4, piece)
        await download(lab.client, tunnel.ipv6, piece)
      }
      await eventually(20_000, "both captures have seen as much", () => near.bytes === far.bytes).catch(
        async (error) => {
          // Says whether it was a capture that missed something.
          await Promise.all([near.finish(), far.finish()])
          throw error
        },
      )
      const [seen, arrived] = [await near.finish(), await far.finish()]
      expect(new Map([...arrived].sort())).toEqual(new Map([...seen].sort()))
      expect([...seen.values()].filter((stream) => stream.bytes >= piece)).toHaveLength((2 * bytes) / piece)
    },
    60_000 + bytes / 5_000,
  )
}

/** Of the server: the one that has the tunnel's address. */
async function tunnelDevice(): Promise<string> {
  return eventually(5000, "the server's tun device", async () => {
    const addresses = await bench.lab.server.succeed(["ip", "-o", "-4", "address", "show", "to", tunnel.ipv4])
    return /^\d+: (\S+)/.exec(addresses)?.[1]
  })
}
