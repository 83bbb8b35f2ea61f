/** A certificate authority in a temporary directory, made with the `openssl` command; `remove` leaves nothing behind. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export type KeyType = "rsa" | "rsa1024" | "ec" | "ed25519"

export interface Issued {
  readonly certificate: string
  readonly key: string
}

export class Authority {
  readonly #directory = mkdtempSync(join(tmpdir(), "culvert-openssl-"))
  readonly certificate: string

  /** Valid for ten years. */
  constructor(keyType: KeyType = "ec", subject = "/CN=Test Authority") {
    const self = ["req", "-x509", "-nodes", ...NEW_KEY[keyType], "-subj", subject, "-days", "3650"]
    this.openssl([...self, "-keyout", "ca.key", "-out", "ca.crt"])
    this.certificate = this.read("ca.crt")
  }

  /** `extensions` are lines of an x509v3 section. Valid for a hundred days. */
  issue(name: string, keyType: KeyType, extensions: ReadonlyArray<string> = [], subject = `/CN=${name}`): Issued {
    const request = ["req", "-new", "-nodes", "-utf8", ...NEW_KEY[keyType], "-subj", subject]
    this.openssl([...request, "-keyout", `${name}.key`, "-out", `${name}.csr`])
    this.write(`${name}.ext`, extensions.join("\n"))
    const sign = ["x509", "-req", "-in", `${name}.csr`, "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "100"]
    this.openssl([...sign, "-set_serial", SERIAL, "-extfile", `${name}.ext`, "-out", `${name}.crt`])
    return { certificate: this.read(`${name}.crt`), key: this.read(`${name}.key`) }
  }

  /** An empty revocation list in PEM, valid between two moments (YYYYMMDDHHMMSSZ). */
  revocations(from: string, to: string): string {
    this.write("revoked.txt", "")
    const settings = "database=revoked.txt\ndefault_md=sha256\ncertificate=ca.crt\nprivate_key=ca.key\n"
    this.write("revoked.cnf", `[ca]\ndefault_ca=authority\n[authority]\n${settings}`)
    return this.openssl(["ca", "-gencrl", "-config", "revoked.cnf", "-crl_lastupdate", from, "-crl_nextupdate", to])
  }

  openssl(args: ReadonlyArray<string>): string {
    const run = Bun.spawnSync(["openssl", ...args], { cwd: this.#directory })
    if (run.exitCode !== 0) throw new Error(`openssl ${args.join(" ")}: ${run.stderr}`)
    return run.stdout.toString()
  }

  read(file: string): string {
    return readFileSync(join(this.#directory, file), "utf8")
  }

  write(file: string, content: string): void {
    writeFileSync(join(this.#directory, file), content)
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true })
  }
}

export const SERVER = ["keyUsage=critical,digitalSignature,keyEncipherment", "extendedKeyUsage=serverAuth"]
export const CLIENT = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth"]

/** Beyond 64 bits, as real serial numbers are. */
export const SERIAL = "123456789012345678901234567890"

const NEW_KEY: Record<KeyType, ReadonlyArray<string>> = {
  rsa: ["-newkey", "rsa:2048"],
  rsa1024: ["-newkey", "rsa:1024"],
  ec: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
  ed25519: ["-newkey", "ed25519"],
}
