/** tls-auth in every direction and with the two digests in use. plain and tls-crypt are in the matrix. */
import { expect, test } from "bun:test"
import { makeStaticKey } from "../support/pki.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

for (const digest of ["SHA1", "SHA256"] as const) {
  // The server's; the client has the other one.
  for (const direction of [0, 1, undefined] as const) {
    test(`tls-auth, key-direction ${direction === undefined ? "none" : 1 - direction}, ${digest}`, async () => {
      const options = {
        wrapping: { type: "tls-auth", digest, ...(direction === undefined ? {} : { direction }) },
      } as const
      await using _server = await bench.serve(options)
      await using client = bench.connect(options)
      await client.ready()
      await bench.carriesTraffic()
    })
  }
}

test.each(["tls-auth", "tls-crypt"] as const)("%s with a key that is not the server's gets no answer", async (type) => {
  await using server = await bench.serve({ wrapping: { type } })
  const other = await makeStaticKey(`${bench.lab.directory}/other-${type}.key`)
  await using client = bench.connect(
    { wrapping: { type: "plain" } },
    { lines: ["connect-timeout 2", `<${type}>`, other.trim(), `</${type}>`] },
  )
  await server.line(/packet authentication failed|unwrapping failed|cannot locate HMAC|tls-crypt unwrap/i)
  expect(server.log.some((line) => /TLS: Initial packet/.test(line))).toBe(false)
  expect(client.child.running).toBe(true)
})
