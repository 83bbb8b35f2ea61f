/**
 * Certificates and static keys for tests and the demo, made with the `openssl` and `openvpn` commands.
 * EC P-256 unless RSA is asked for. Everything is written below one directory, which the caller removes.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { succeed } from "./child.ts"

export interface Certificate {
  /** PEM */
  readonly certificate: string
  readonly key: string
  readonly certificateFile: string
  readonly keyFile: string
}

export interface CertificateOptions {
  /** File name, and the common name unless `commonName` is given. */
  readonly name: string
  readonly commonName?: string
  /** What key usage and extended key usage allow; "none": neither extension. */
  readonly usage: "server" | "client" | "none" | "intermediate"
  readonly validity?: "now" | "expired" | "future"
  /** "weak": RSA with 1024 bits. */
  readonly algorithm?: "ec" | "rsa" | "ed25519" | "weak"
}

/** One certificate authority. */
export class Authority {
  readonly directory: string
  readonly name: string

  private constructor(directory: string, name: string) {
    this.directory = directory
    this.name = name
  }

  /** Makes the authority below `directory`, which may hold several. */
  static async make(directory: string, name: string): Promise<Authority> {
    const authority = await Authority.#prepare(directory, name)
    await succeed([
      ...["openssl", "req", "-x509", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
      ...["-config", join(authority.directory, "ca.cnf"), "-extensions", "authority", "-days", "30"],
      ...["-subj", `/O=Culvert test/CN=${name}`],
      ...["-keyout", join(authority.directory, "ca.key"), "-out", authority.certificateFile],
    ])
    return authority
  }

  /** An authority whose certificate is this one's. */
  async intermediate(name: string): Promise<Authority> {
    const authority = await Authority.#prepare(this.directory, name)
    const { certificate, key } = await this.issue({ name: `${name}-authority`, usage: "intermediate" })
    await writeFile(authority.certificateFile, certificate)
    await writeFile(join(authority.directory, "ca.key"), key)
    return authority
  }

  static async #prepare(directory: string, name: string): Promise<Authority> {
    const authority = new Authority(join(directory, name), name)
    await mkdir(join(authority.directory, "issued"), { recursive: true })
    await writeFile(join(authority.directory, "index.txt"), "")
    await writeFile(join(authority.directory, "ca.cnf"), authorityConfiguration(authority.directory))
    return authority
  }

  get certificateFile(): string {
    return join(this.directory, "ca.crt")
  }

  /** PEM */
  async certificate(): Promise<string> {
    return readFile(this.certificateFile, "utf8")
  }

  /** The revocation list (PEM) once these are revoked. */
  async revoke(...certificates: ReadonlyArray<Certificate>): Promise<string> {
    const command = ["openssl", "ca", "-batch", "-config", join(this.directory, "ca.cnf")]
    for (const { certificateFile } of certificates) await succeed([...command, "-revoke", certificateFile])
    return succeed([...command, "-gencrl", "-crldays", "30"])
  }

  async issue(options: CertificateOptions): Promise<Certificate> {
    const file = (extension: string) => join(this.directory, "issued", `${options.name}.${extension}`)
    const [start, end] = validity(options.validity ?? "now")
    const algorithm = newKey[options.algorithm ?? "ec"]
    await succeed([
      ...["openssl", "req", "-new", "-nodes", "-newkey", ...algorithm, "-config", join(this.directory, "ca.cnf")],
      ...["-subj", `/O=Culvert test/CN=${options.commonName ?? options.name}`],
      ...["-keyout", file("key"), "-out", file("csr")],
    ])
    await succeed([
      ...["openssl", "ca", "-batch", "-notext", "-config", join(this.directory, "ca.cnf")],
      ...["-extensions", options.usage, "-startdate", start, "-enddate", end],
      ...["-in", file("csr"), "-out", file("crt")],
    ])
    return {
      certificate: await readFile(file("crt"), "utf8"),
      key: await readFile(file("key"), "utf8"),
      certificateFile: file("crt"),
      keyFile: file("key"),
    }
  }
}

/** What follows `-newkey`. */
const newKey = {
  weak: ["rsa:1024"],
  rsa: ["rsa:2048"],
  ec: ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
  ed25519: ["ed25519"],
} as const

/** A 2048-bit static key for tls-auth or tls-crypt; returns the text of the file. */
export async function makeStaticKey(file: string): Promise<string> {
  await succeed(["openvpn", "--genkey", "secret", file])
  return readFile(file, "utf8")
}

/** What every test needs: the right authority, a server and a client certificate, a static key, and a stranger. */
export interface Pki {
  readonly authority: Authority
  readonly ca: string
  readonly server: Certificate
  readonly client: Certificate
  readonly staticKey: string
  readonly staticKeyFile: string
  readonly tlsCryptV2: TlsCryptV2Keys
  /** An authority that the client is not told about. */
  readonly stranger: Authority
}

export interface TlsCryptV2Keys {
  readonly serverFile: string
  /** The text of the client's file. */
  readonly client: string
}

export async function makeTlsCryptV2Keys(directory: string): Promise<TlsCryptV2Keys> {
  const serverFile = join(directory, "tls-crypt-v2-server.key")
  const clientFile = join(directory, "tls-crypt-v2-client.key")
  await succeed(["openvpn", "--genkey", "tls-crypt-v2-server", serverFile])
  await succeed(["openvpn", "--tls-crypt-v2", serverFile, "--genkey", "tls-crypt-v2-client", clientFile])
  return { serverFile, client: await readFile(clientFile, "utf8") }
}

export async function makePki(directory: string): Promise<Pki> {
  await mkdir(directory, { recursive: true })
  const staticKeyFile = join(directory, "static.key")
  const [authority, stranger, staticKey, tlsCryptV2] = await Promise.all([
    Authority.make(directory, "authority"),
    Authority.make(directory, "stranger"),
    makeStaticKey(staticKeyFile),
    makeTlsCryptV2Keys(directory),
  ])
  const server = await authority.issue({ name: "server", commonName: "server.culvert.test", usage: "server" })
  const client = await authority.issue({ name: "client", commonName: "client.culvert.test", usage: "client" })
  return {
    authority,
    ca: await authority.certificate(),
    server,
    client,
    staticKey,
    staticKeyFile,
    tlsCryptV2,
    stranger,
  }
}

/** `openssl ca` is used because `openssl x509` of 3.0 cannot set dates. */
function authorityConfiguration(directory: string): string {
  return `
[ca]
default_ca = this
[this]
database = ${directory}/index.txt
new_certs_dir = ${directory}/issued
certificate = ${directory}/ca.crt
private_key = ${directory}/ca.key
rand_serial = yes
default_md = sha256
unique_subject = no
policy = anything
[anything]
organizationName = optional
commonName = supplied
[req]
distinguished_name = subject
[subject]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:false
keyUsage = digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
[client]
basicConstraints = CA:false
keyUsage = digitalSignature
extendedKeyUsage = clientAuth
[none]
basicConstraints = CA:false
[intermediate]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
`
}

function validity(kind: "now" | "expired" | "future"): readonly [string, string] {
  switch (kind) {
    case "now":
      return [asn1Time(-days(1)), asn1Time(days(30))]
    case "expired":
      return [asn1Time(-days(30)), asn1Time(-days(1))]
    case "future":
      return [asn1Time(days(10)), asn1Time(days(30))]
  }
}

/** `YYYYMMDDHHMMSSZ`, so many milliseconds from now. */
function asn1Time(offset: number): string {
  return new Date(Date.now() + offset).toISOString().replace(/[-:T]|\.\d+/g, "")
}

const days = (count: number) => count * 86_400_000
