/** The first light matrix, in full: {udp, tcp} × {plain, tls-auth, tls-crypt} × 3 ciphers × {TLS 1.2, 1.3}. */
import { afterAll, beforeAll, describe, test } from "bun:test"
import { dataCiphers, type OpenVpnServer, type ServerOptions } from "../support/openvpn.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

const wrappings = {
  plain: { type: "plain" },
  "tls-auth": { type: "tls-auth", direction: 0, digest: "SHA256" },
  "tls-crypt": { type: "tls-crypt" },
} as const

for (const transport of ["udp", "tcp"] as const) {
  for (const [name, wrapping] of Object.entries(wrappings)) {
    for (const tlsVersion of ["1.2", "1.3"] as const) {
      const options: ServerOptions = { transport, wrapping, tlsVersion }

      describe(`${transport}, ${name}, TLS ${tlsVersion}`, () => {
        let server: OpenVpnServer
        beforeAll(async () => {
          server = await bench.serve(options)
        })
        afterAll(async () => {
          await server?.[Symbol.asyncDispose]()
        })

        test.each([...dataCiphers])("%s carries ping and a download", async (cipher) => {
          const since = server.log.length
          await using client = bench.connect(options, { dataCiphers: [cipher] })
          await client.ready()
          await bench.carriesTraffic()
          // What was asked for is also what was used: by the word of the server.
          await server.line(new RegExp(`Control Channel: TLSv${tlsVersion}`), 5_000, since)
          await server.line(new RegExp(`Data Channel: cipher '${cipher}'`), 5_000, since)
        })
      })
    }
  }
}
