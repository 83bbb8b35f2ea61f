/**
 * The installed `openvpn` as judge of a configuration file. It reads the file, checks it as a whole and looks at the files it
 * names; then a `writepid` that cannot be written ends it, before any key is loaded, any name resolved or any socket opened.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface Verdict {
  readonly accepted: boolean
  /** What it says against the file; empty when it accepts. */
  readonly message: string
}

/** A temporary directory with the files that configurations name; remove it by disposing of it. */
export class OracleDirectory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "culvert-oracle-"))
  #count = 0

  constructor(files: Readonly<Record<string, string | Uint8Array>>) {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(this.path, name), content)
  }

  async judge(text: string): Promise<Verdict> {
    const file = join(this.path, `case-${this.#count++}.ovpn`)
    writeFileSync(file, text)
    const child = Bun.spawn(
      [...isolated, "openvpn", "--cd", this.path, "--config", file, "--verb", "1", "--writepid", stop],
      { stdin: "ignore", stdout: "pipe", stderr: "pipe" },
    )
    const output = (await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])).join("")
    await child.exited
    rmSync(file)
    const complaints = output
      .split("\n")
      .filter((line) => /Options error:|fatal error|Too many|Error opening|in \[CMD/.test(line))
      .map((line) => line.replace(/^.*?(Options error: )/, "").replaceAll(file, "FILE"))
    const stopped = complaints.some((line) => line.includes(stop))
    const message = complaints.filter((line) => !line.includes(stop) && !line.startsWith("Please correct")).join("; ")
    return {
      accepted: stopped && message === "",
      message: stopped || message !== "" ? message : `it ended: ${output.trim()}`,
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true })
  }
}

/** Judges all, two at a time. */
export const judgeAll = async (
  directory: OracleDirectory,
  texts: ReadonlyArray<string>,
): Promise<ReadonlyArray<Verdict>> => {
  const verdicts: Array<Verdict> = []
  let next = 0
  const work = async () => {
    while (next < texts.length) {
      const index = next++
      verdicts[index] = await directory.judge(texts[index]!)
    }
  }
  await Promise.all([work(), work()])
  return verdicts
}

export const hasOpenVpn = Bun.which("openvpn") !== null

/** Where it is possible without asking: a network namespace in which nothing can be reached. */
const isolated = process.getuid?.() === 0 ? ["unshare", "--net"] : []
const stop = "/nonexistent/culvert-oracle"
