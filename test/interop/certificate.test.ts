/** A server that is not the right one: the attempt ends before anything of ours is sent, and the message names the check. */
import { expect, test } from "bun:test"
import { subject } from "../support/culvert.ts"
import type { Lab } from "../support/lab.ts"
import type { ClientConfigurationOptions } from "../support/openvpn.ts"
import type { Certificate } from "../support/pki.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

interface Impostor {
  readonly what: string
  readonly certificate: (lab: Lab) => Promise<Certificate>
  readonly client?: (lab: Lab) => Promise<ClientConfigurationOptions>
  /** How each program names the check. */
  readonly says: { readonly culvert: RegExp; readonly openvpn: RegExp }
}

const right = async (lab: Lab) => lab.pki.server

const impostors: ReadonlyArray<Impostor> = [
  {
    what: "a certificate of an authority that the client does not know",
    certificate: right,
    client: async (lab) => ({ ca: await lab.pki.stranger.certificate() }),
    says: { culvert: /chain|issuer|self-signed/i, openvpn: /VERIFY ERROR/ },
  },
  {
    what: "an expired certificate",
    certificate: (lab) => lab.pki.authority.issue({ name: "expired", usage: "server", validity: "expired" }),
    says: { culvert: /expired/i, openvpn: /certificate has expired/ },
  },
  {
    what: "a certificate that is not valid yet",
    certificate: (lab) => lab.pki.authority.issue({ name: "future", usage: "server", validity: "future" }),
    says: { culvert: /not yet valid/i, openvpn: /not yet valid/ },
  },
  {
    what: "a client's certificate",
    certificate: (lab) => lab.pki.authority.issue({ name: "purpose", usage: "client" }),
    says: { culvert: /purpose|key usage|serverAuth/i, openvpn: /VERIFY (EKU|KU|ERROR)/ },
  },
  {
    what: "a certificate without key usage",
    certificate: (lab) => lab.pki.authority.issue({ name: "no-usage", usage: "none" }),
    says: { culvert: /purpose|key usage|serverAuth/i, openvpn: /VERIFY (EKU|KU) ERROR|does not have/ },
  },
  {
    what: "another name (verify-x509-name name)",
    certificate: right,
    client: async () => ({ verify: ["remote-cert-tls server", "verify-x509-name other.culvert.test name"] }),
    says: { culvert: /name.*other\.culvert\.test/i, openvpn: /VERIFY X509NAME ERROR/ },
  },
  {
    what: "another prefix (verify-x509-name name-prefix)",
    certificate: right,
    client: async () => ({ verify: ["remote-cert-tls server", "verify-x509-name vpn- name-prefix"] }),
    says: { culvert: /name.*vpn-/i, openvpn: /VERIFY X509NAME ERROR/ },
  },
  {
    what: "another subject (verify-x509-name subject)",
    certificate: right,
    client: async () => ({
      verify: ["remote-cert-tls server", "verify-x509-name 'O=Other, CN=server.culvert.test' subject"],
    }),
    says: { culvert: /(name|subject).*O=Other/i, openvpn: /VERIFY X509NAME ERROR/ },
  },
]

for (const tlsVersion of ["1.2", "1.3"] as const) {
  test.each([...impostors])(`TLS ${tlsVersion}: $what`, async ({ certificate, client: configure, says }) => {
    const { lab } = bench
    const options = { tlsVersion, certificate: await certificate(lab) }
    await using server = await bench.serve(options)
    await using client = bench.connect(options, await configure?.(lab))
    await client.child.line(says[subject])
    await client.stop()
    await server.stop()
    // Neither a client certificate nor a key exchange reached the impostor.
    expect(server.log.some((line) => /VERIFY OK|Peer Connection Initiated|peer info:/.test(line))).toBe(false)
  })
}

test.each([
  ["name", "verify-x509-name server.culvert.test name"],
  ["name-prefix", "verify-x509-name server. name-prefix"],
  ["subject", "verify-x509-name 'O=Culvert test, CN=server.culvert.test' subject"],
])("the right name passes (verify-x509-name %s)", async (_form, line) => {
  await using _server = await bench.serve()
  await using client = bench.connect({}, { verify: ["remote-cert-tls server", line] })
  await client.ready()
  await bench.carriesTraffic()
})
