/**
 * The real `openvpn` as server of a lab, and the client configuration that fits it.
 *
 * Inside the tunnel the server is 10.66.0.1 and fd66::1; the first client gets 10.66.0.2 and fd66::1000.
 */
import { chmodSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Child } from "./child.ts"
import { type Lab, outer } from "./lab.ts"
import type { Certificate } from "./pki.ts"

export const tunnel = {
  ipv4: "10.66.0.1",
  ipv6: "fd66::1",
  ipv4Network: "10.66.0.0/24",
  ipv6Network: "fd66::/64",
} as const

export const dataCiphers = ["AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305"] as const
/** Those of the default, and those that have to be asked for. */
export type DataCipher = (typeof dataCiphers)[number] | "AES-192-GCM" | "AES-256-CBC" | "AES-192-CBC" | "AES-128-CBC"

export type Wrapping =
  | { readonly type: "plain" }
  /** `direction` is the server's; the client gets the other one. */
  | { readonly type: "tls-auth"; readonly direction?: 0 | 1; readonly digest?: "SHA1" | "SHA256" | "SHA384" | "SHA512" }
  | { readonly type: "tls-crypt" }
  /** `cookie`: what the server does for a client that does not know the early negotiation; it is its business alone. */
  | { readonly type: "tls-crypt-v2"; readonly cookie?: "force-cookie" | "allow-noncookie" }

export interface ServerOptions {
  readonly transport?: "udp" | "tcp"
  /** "any": one socket for both families. */
  readonly family?: "ipv4" | "ipv6" | "any"
  readonly port?: number
  readonly wrapping?: Wrapping
  readonly dataCiphers?: ReadonlyArray<DataCipher>
  readonly tlsVersion?: "1.2" | "1.3"
  readonly certificate?: Certificate
  /** Whom the server lets in; without it a certificate is enough. */
  readonly user?: { readonly name: string; readonly password: string }
  readonly clientCertificate?: "require" | "none"
  /** Seconds; the server picks a point in the last tenth. */
  readonly renegSec?: number
  /** Seconds between pings, and of silence until the client restarts. */
  readonly keepalive?: readonly [number, number]
  readonly push?: ReadonlyArray<string>
  /** False: a second session of a certificate ends the first. */
  readonly duplicateCn?: boolean
  /** Further directives. */
  readonly lines?: ReadonlyArray<string>
  /**
   * How the server reads the client's IV_PROTO. "data-v2": as a client that knows peer ids and nothing newer, so the keys
   * come from the PRF and the configuration has to be asked for; "none": as a client of OpenVPN 2.3, hence DATA_V1 as well.
   * OpenVPN 2.6 has no option for this; see `serverThatMisreads`.
   */
  readonly readsClientAs?: "itself" | "data-v2" | "none"
}

type Wrapper = (command: ReadonlyArray<string>) => ReadonlyArray<string>

export class OpenVpnServer implements AsyncDisposable {
  readonly options: ServerOptions
  readonly #lab: Lab
  readonly #command: ReadonlyArray<string>
  readonly #log: Array<string> = []
  #child: Child | undefined

  private constructor(lab: Lab, options: ServerOptions, wrap: Wrapper) {
    serial += 1
    this.#lab = lab
    this.options = options
    const binary = serverThatMisreads(lab, options.readsClientAs ?? "itself")
    const file = lab.write(`server-${serial}.conf`, serverConfiguration(lab, options))
    this.#command = wrap([binary, "--config", file])
  }

  /** `wrap` makes the command that runs the server's, such as one that enters another userland. */
  static async start(
    lab: Lab,
    options: ServerOptions = {},
    wrap: Wrapper = (command) => command,
  ): Promise<OpenVpnServer> {
    const server = new OpenVpnServer(lab, options, wrap)
    await server.start()
    return server
  }

  async start(): Promise<void> {
    if (this.#child?.running) throw new Error("the server runs already")
    this.#child = this.#lab.server.start("openvpn server", this.#command, {
      environment: { TMPDIR: this.#lab.directory },
    })
    await this.#child.line(/Initialization Sequence Completed/)
  }

  /** Everything it said, over all its lives. */
  get log(): ReadonlyArray<string> {
    return [...this.#log, ...(this.#child?.lines ?? [])]
  }

  /** Waits for a line of the log, from index `since` on. */
  async line(matches: RegExp, deadline = 20_000, since = 0): Promise<string> {
    if (this.#child === undefined) throw new Error("the server is not running")
    return this.#child.line(matches, deadline, Math.max(0, since - this.#log.length))
  }

  /** Without a word to the clients. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL")
  }

  /** Orderly, as an administrator stops it. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM")
  }

  /** SIGSTOP and SIGCONT: the socket stays, nobody reads it. */
  suspend(): void {
    this.#child?.signal("SIGSTOP")
  }

  resume(): void {
    this.#child?.signal("SIGCONT")
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.resume()
    await this.stop()
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    await child.stop(signal)
    this.#log.push(...child.lines)
    this.#child = undefined
  }
}

export interface ClientConfigurationOptions {
  /** Where `remote` points; the server's outer address of its family unless said. */
  readonly host?: string
  readonly port?: number
  readonly dataCiphers?: ReadonlyArray<DataCipher>
  /** PEM; "none": the file has no line for it. */
  readonly ca?: string
  /** "none": only user and password. */
  readonly certificate?: Certificate | "none"
  readonly user?: { readonly name: string; readonly password: string }
  readonly device?: string
  /** What proves the server, in place of `remote-cert-tls server`. */
  readonly verify?: ReadonlyArray<string>
  readonly lines?: ReadonlyArray<string>
}

/** A client file for that server, with everything inline. */
export function clientConfiguration(lab: Lab, server: ServerOptions, options: ClientConfigurationOptions = {}): string {
  const family = server.family ?? "ipv4"
  const suffix = family === "ipv4" ? "4" : family === "ipv6" ? "6" : ""
  const transport = server.transport ?? "udp"
  const certificate = options.certificate ?? lab.pki.client
  const user = options.user ?? server.user
  const host = options.host ?? (family === "ipv6" ? outer.server.ipv6 : outer.server.ipv4)
  return [
    "client",
    `dev ${options.device ?? "tun"}`,
    `proto ${transport === "udp" ? `udp${suffix}` : `tcp${suffix}-client`}`,
    `remote ${host} ${options.port ?? server.port ?? 1194}`,
    "nobind",
    "connect-retry 1 5",
    ...(transport === "udp" ? ["explicit-exit-notify 1"] : []),
    ...(options.verify ?? ["remote-cert-tls server"]),
    ...tlsVersionLines(server),
    `data-ciphers ${(options.dataCiphers ?? server.dataCiphers ?? dataCiphers).join(":")}`,
    "verb 4",
    ...wrappingLines(server.wrapping ?? { type: "plain" }, lab, "client"),
    ...(options.lines ?? []),
    ...(options.ca === "none" ? [] : inline("ca", options.ca ?? lab.pki.ca)),
    ...(certificate === "none" ? [] : [...inline("cert", certificate.certificate), ...inline("key", certificate.key)]),
    ...(user === undefined ? [] : inline("auth-user-pass", `${user.name}\n${user.password}`)),
    "",
  ].join("\n")
}

function serverConfiguration(lab: Lab, options: ServerOptions): string {
  const family = options.family ?? "ipv4"
  const transport = options.transport ?? "udp"
  const [ping, restart] = options.keepalive ?? [10, 60]
  const certificate = options.certificate ?? lab.pki.server
  const protocol = `${transport}${family === "ipv4" ? "4" : "6"}${transport === "tcp" ? "-server" : ""}`
  return [
    "dev tun",
    "topology subnet",
    "server 10.66.0.0 255.255.255.0",
    "server-ipv6 fd66::/64",
    `proto ${protocol}`,
    `port ${options.port ?? 1194}`,
    ...(family === "ipv6" ? ["bind ipv6only"] : []),
    "dh none",
    `ca ${lab.pki.authority.certificateFile}`,
    `cert ${certificate.certificateFile}`,
    `key ${certificate.keyFile}`,
    `data-ciphers ${(options.dataCiphers ?? dataCiphers).join(":")}`,
    `keepalive ${ping} ${restart}`,
    ...(options.duplicateCn === false ? [] : ["duplicate-cn"]),
    "verb 3",
    ...tlsVersionLines(options),
    ...wrappingLines(options.wrapping ?? { type: "plain" }, lab, "server"),
    ...(options.renegSec === undefined ? [] : [`reneg-sec ${options.renegSec}`]),
    ...(options.clientCertificate === "none" ? ["verify-client-cert none"] : []),
    ...(options.user === undefined ? [] : userLines(lab, options.user)),
    ...(options.push ?? []).map((option) => `push "${option}"`),
    ...(options.lines ?? []),
    "",
  ].join("\n")
}

function tlsVersionLines({ tlsVersion }: ServerOptions): ReadonlyArray<string> {
  return tlsVersion === undefined ? [] : [`tls-version-min ${tlsVersion}`, `tls-version-max ${tlsVersion}`]
}

function wrappingLines(wrapping: Wrapping, lab: Lab, side: "client" | "server"): ReadonlyArray<string> {
  switch (wrapping.type) {
    case "plain":
      return []
    case "tls-crypt":
      return inline("tls-crypt", lab.pki.staticKey)
    case "tls-crypt-v2":
      if (side === "client") return inline("tls-crypt-v2", lab.pki.tlsCryptV2.client)
      return [`tls-crypt-v2 ${lab.pki.tlsCryptV2.serverFile} ${wrapping.cookie ?? ""}`]
    case "tls-auth": {
      const { direction, digest } = wrapping
      return [
        ...(digest === undefined ? [] : [`auth ${digest}`]),
        ...(direction === undefined ? [] : [`key-direction ${side === "server" ? direction : 1 - direction}`]),
        ...inline("tls-auth", lab.pki.staticKey),
      ]
    }
  }
}

function userLines(lab: Lab, user: { readonly name: string; readonly password: string }): ReadonlyArray<string> {
  const expected = lab.write(`user-${serial}`, `${user.name}\n${user.password}\n`)
  const script = lab.write(`verify-${serial}.sh`, `#!/bin/sh\nexec cmp -s "$1" ${expected}\n`, 0o755)
  return ["script-security 2", `auth-user-pass-verify ${script} via-file`]
}

/**
 * A copy of the `openvpn` program in which the words it looks for in the client's peer information are others: it then
 * finds no IV_PROTO, or takes the 2 of `IV_NCP=2` (bit 1: DATA_V2) for it.
 */
function serverThatMisreads(lab: Lab, reads: "itself" | "data-v2" | "none"): string {
  if (reads === "itself") return "openvpn"
  const original = Bun.which("openvpn")
  if (original === null) throw new Error("openvpn is not installed")
  const program = readFileSync(original)
  const [key, format] = reads === "none" ? ["IV_NONE_=\0", "IV_NONE_=%u\0"] : ["IV_NCP=\0", "IV_NCP=%u\0"]
  // The client's own "IV_PROTO=%d\n" ends differently and stays.
  replaceOnce(program, "\0IV_PROTO=\0", `\0${key}`)
  if (program.indexOf("\0IV_PROTO=%u\0") >= 0) replaceOnce(program, "\0IV_PROTO=%u\0", `\0${format}`)
  else replaceOnce(program, "\0IV_PROTO=%d\0", `\0${format.replace("%u", "%d")}`)
  const copy = join(lab.directory, `openvpn-${reads}`)
  writeFileSync(copy, program)
  chmodSync(copy, 0o755)
  return copy
}

function replaceOnce(program: Buffer, from: string, to: string): void {
  const at = program.indexOf(from, 0, "latin1")
  if (at < 0 || program.indexOf(from, at + 1, "latin1") >= 0) {
    throw new Error(`this build of openvpn has ${at < 0 ? "no" : "several"} ${JSON.stringify(from)}`)
  }
  program.fill(0, at, at + from.length)
  program.write(to, at, "latin1")
}

function inline(tag: string, text: string): ReadonlyArray<string> {
  return [`<${tag}>`, text.trim(), `</${tag}>`]
}

let serial = 0
