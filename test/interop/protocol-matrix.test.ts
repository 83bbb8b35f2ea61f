/**
 * Everything that changes the bytes on the wire, each pair of values in one real connection at least: a ping and 10 MB each
 * way. `CULVERT_MATRIX=full` runs the whole product (hours).
 */
import { beforeAll, describe, expect, test } from "bun:test"
import { type ServerOptions, tunnel, type Wrapping } from "../support/openvpn.ts"
import { type Cell, everyCell, pairwise } from "../support/pairwise.ts"
import type { Certificate } from "../support/pki.ts"
import { download, ping, upload } from "../support/traffic.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

const wrappings: Readonly<Record<string, Wrapping>> = {
  plain: { type: "plain" },
  "tls-auth": { type: "tls-auth" },
  "tls-auth 0": { type: "tls-auth", direction: 1 },
  "tls-auth 1": { type: "tls-auth", direction: 0 },
  "tls-crypt": { type: "tls-crypt" },
  "tls-crypt-v2": { type: "tls-crypt-v2", cookie: "allow-noncookie" },
  "tls-crypt-v2 cookie": { type: "tls-crypt-v2", cookie: "force-cookie" },
}

const axes = {
  transport: ["udp", "tcp"],
  wrapping: Object.keys(wrappings),
  cipher: [
    ...(["AES-256-GCM", "AES-192-GCM", "AES-128-GCM", "CHACHA20-POLY1305"] as const),
    ...(["AES-256-CBC", "AES-192-CBC", "AES-128-CBC"] as const),
  ],
  auth: ["SHA1", "SHA256", "SHA384", "SHA512"],
  keys: ["EKM", "PRF"],
  tlsVersion: ["1.2", "1.3"],
  certificate: ["rsa", "ec", "ed25519"],
} as const
const cells = process.env.CULVERT_MATRIX === "full" ? everyCell(axes) : pairwise(axes)

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

  const name = (cell: Cell<typeof axes>) => Object.values(cell).join(", ")
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
