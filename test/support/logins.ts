/** Logins at the real server: a script that judges them, and the Secret that they come from. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Lab } from "./lab.ts"
import type { ServerOptions } from "./openvpn.ts"

/** A server that lets the script `decide`; it finds `$user` and `$password`, and every call is written down. */
export function judged(lab: Lab, decide: string, options: ServerOptions = {}) {
  serial += 1
  const calls = lab.write(`calls-${serial}`, "")
  const script = lab.write(
    `judge-${serial}.sh`,
    `#!/bin/sh\n{ IFS= read -r user; IFS= read -r password; } < "$1"\necho "$user $password" >> ${calls}\n${decide}\n`,
    0o755,
  )
  const lines = ["script-security 2", `auth-user-pass-verify ${script} via-file`, "verify-client-cert none"]
  return {
    server: { ...options, lines: [...lines, ...(options.lines ?? [])] },
    /** `user password` of each call. */
    calls: () => readFileSync(calls, "utf8").split("\n").filter(Boolean),
  }
}

/** A mounted Secret. */
export function secret(lab: Lab, files: Readonly<Record<string, string>>) {
  const directory = join(lab.directory, `credentials-${++serial}`)
  mkdirSync(directory)
  const write = (name: string, text: string) => writeFileSync(join(directory, name), `${text}\n`)
  for (const [name, text] of Object.entries(files)) write(name, text)
  return { directory, write }
}

let serial = 0
