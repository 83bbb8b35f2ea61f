/**
 * Debian's unbound as the resolver behind the tunnel: plain DNS, DoT and DoH on one address, and a validator of DNSSEC. It knows
 *
 *   plain.test    without signatures
 *   signed.test   with good ones; www.signed.test is 192.0.2.20
 *   bogus.test    with ones that do not fit what they sign
 *
 * and in each of them `www`, and `large` with more addresses than a datagram without EDNS0 takes.
 */
import { join } from "node:path"
import { type Child, succeed } from "./child.ts"
import type { Lab, Namespace } from "./lab.ts"

export const unboundPackages = ["unbound", "ldnsutils"] as const

export const zones = { plain: "192.0.2.10", signed: "192.0.2.20", bogus: "192.0.2.30" } as const
type Zone = keyof typeof zones

/** The name in its certificate. */
export const certificateName = "dns.corp.example"

export class Unbound implements AsyncDisposable {
  readonly #child: Child
  /** PEM file of whom a client has to trust. */
  readonly authorityFile: string

  private constructor(child: Child, authorityFile: string) {
    this.#child = child
    this.authorityFile = authorityFile
  }

  static async start(lab: Lab, namespace: Namespace, address: string): Promise<Unbound> {
    const certificate = join(lab.directory, "dns.crt")
    const key = join(lab.directory, "dns.key")
    await succeed([
      ...["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "30"],
      ...["-subj", "/CN=a resolver", "-addext", `subjectAltName=DNS:${certificateName}`],
      ...["-keyout", key, "-out", certificate],
    ])
    const files = await Promise.all((["plain", "signed", "bogus"] as const).map((zone) => zoneFile(lab, zone)))
    const anchors = lab.write("anchors", files.map(({ anchor }) => anchor).join(""))
    const configuration = lab.write(
      "unbound.conf",
      `server:
${[53, 853, 443].map((port) => `  interface: ${address}@${port}`).join("\n")}
  tls-port: 853
  https-port: 443
  tls-service-pem: ${certificate}
  tls-service-key: ${key}
  access-control: 0.0.0.0/0 allow
  module-config: "validator iterator"
  trust-anchor-file: ${anchors}
  local-zone: . static
${Object.keys(zones)
  .map((zone) => `  local-zone: ${zone}.test. transparent`)
  .join("\n")}
  do-daemonize: no
  use-syslog: no
  log-queries: yes
  username: ""
  chroot: ""
  directory: ${lab.directory}
  pidfile: ""
  num-threads: 1
  http-query-buffer-size: 1m
remote-control:
  control-enable: no
${files.map(({ zone, file }) => `auth-zone:\n  name: ${zone}.test.\n  zonefile: ${file}\n  for-downstream: no`).join("\n")}
`,
    )
    const child = namespace.start("unbound", ["unbound", "-d", "-c", configuration])
    await child.line(/start of service/)
    return new Unbound(child, certificate)
  }

  /** How often it was asked for `name`, by whatever transport. */
  asked(name: string): number {
    return this.#child.lines.filter((line) => line.includes(` ${name}. `)).length
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stop("SIGKILL")
  }
}

/** `anchor`: what a validator trusts of the zone; "" without signatures. */
async function zoneFile(lab: Lab, zone: Zone): Promise<{ zone: Zone; file: string; anchor: string }> {
  const address = (last: number) => `${zones[zone].replace(/\d+$/, "")}${last}`
  const large = Array.from({ length: 60 }, (_, index) => `large IN A ${address(100 + index)}\n`).join("")
  const text = `$ORIGIN ${zone}.test.
$TTL 300
@ IN SOA ns hostmaster 1 3600 600 86400 60
@ IN NS ns
ns IN A 192.0.2.1
www IN A ${zones[zone]}
${large}`
  const file = lab.write(`zones/${zone}.test`, text)
  if (zone === "plain") return { zone, file, anchor: "" }
  const directory = join(lab.directory, "zones")
  const key = (await succeed(["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", `${zone}.test`], { cwd: directory })).trim()
  await succeed(["ldns-signzone", "-o", `${zone}.test.`, file, key], { cwd: directory })
  const signed = await Bun.file(`${file}.signed`).text()
  const whole = zone === "bogus" ? signed.replaceAll(zones.bogus, address(31)) : signed
  const anchor = await Bun.file(join(directory, `${key}.key`)).text()
  return { zone, file: lab.write(`zones/${zone}.whole`, whole), anchor }
}
