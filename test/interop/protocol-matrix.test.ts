/**
 * Everything that changes the bytes on the wire, each pair of values in one real connection at least: a ping and 10 MB each
 * way. `CULVERT_MATRIX=full` runs the whole product (hours), `CULVERT_MATRIX=200` so many cells of it, drawn with CULVERT_SEED.
 */
import { beforeAll, describe, expect, test } from "bun:test"
import { axes, type MatrixCell, matrixCells, wrappings } from "../support/matrix.ts"
import { type ServerOptions, tunnel } from "../support/openvpn.ts"
import type { Certificate } from "../support/pki.ts"
import { download, ping, upload } from "../support/traffic.ts"
import { useBench } from "./bench.ts"

const bench = useBench()
const cells = matrixCells(process.env.CULVERT_MATRIX, Number(process.env.CULVERT_SEED ?? 1))

describe("a ping and 10 MB both ways", () => {
  const certificates = new Map<string, { readonly server: Certificate; readonly client: Certificate }>()
  beforeAll(async () => {
    const { authority } = bench.lab.pki
    for (const algorithm of axes.certificate) {
      const server = await authority.issue({ name: `server-${algorithm}`, usage: "server", algorithm })
      certificates.set(algorithm, {
        server,
        client: await authority.issue({ name: `client-${algorithm}`, usage: "client", algorithm }),
      })
    }
  })

  const name = (cell: MatrixCell) => Object.values(cell).join(", ")
  test.each(cells.map((cell) => [name(cell), cell] as const))("%s", async (_name, cell) => {
    const { server: certificate, client: own } = certificates.get(cell.certificate)!
    const options: ServerOptions = {
      transport: cell.transport,
      wrapping: wrappings[cell.wrapping]!,
      tlsVersion: cell.tlsVersion,
      dataCiphers: [cell.cipher],
      certificate,
      readsClientAs: cell.keys === "PRF" ? "data-v2" : "itself",
      lines: [`auth ${cell.auth}`],
    }
    await using server = await bench.serve(options)
    await using client = bench.connect(options, { certificate: own, lines: [`auth ${cell.auth}`] })
    await client.ready()
    await ping(bench.lab.client, tunnel.ipv4)
    await download(bench.lab.client, tunnel.ipv4, 10_000_000)
    await upload(bench.lab.client, tunnel.ipv4, 10_000_000)
    const reply = server.log.find((line) => line.includes("PUSH_REPLY")) ?? ""
    expect([reply.includes(`cipher ${cell.cipher}`), reply.includes("tls-ekm")]).toEqual([true, cell.keys === "EKM"])
    // Its words for options that do not fit together, and for packets that it could not read.
    expect(server.log.filter((line) => /used inconsistently|Authenticate\/Decrypt|bad packet ID/.test(line))).toEqual(
      [],
    )
  })
})
