/** Directives that are not in the table: errors with a hint, unless the file itself expects them to be unknown. */
import { type Diagnostics, quote } from "./diagnostic.ts"
import { directives, isDirective, rowOf } from "./directives.ts"
import type { Statement } from "./lexer.ts"
import { nearest } from "./spelling.ts"

/** What a file says about directives that it expects to be unknown, above their line or below it. */
export class Tolerance {
  #everything = false
  readonly #names = new Set<string>()
  readonly #unknown: Array<Statement> = []

  learn({ name, words }: Statement): void {
    if (name.text === "ignore-unknown-option") for (const { text } of words) this.#names.add(text)
    else if (name.text === "setenv" && words[0]?.text === "FORWARD_COMPATIBLE" && words.length === 2)
      this.#everything ||= words[1]!.text === "1"
  }

  unknown(statement: Statement): void {
    this.#unknown.push(statement)
  }

  /** When all has been learnt. */
  judge(report: Diagnostics): void {
    for (const statement of this.#unknown) {
      const { name } = statement
      if (this.#everything || this.#names.has(name.text)) {
        if (report.takesNotes) report.info(name, `${unknownMessage(statement)}; ${asTheFileSays}`)
      } else if (!report.isFull) report.error(name, unknownMessage(statement), hintForUnknown(name.text))
      else {
        report.abandon(name)
        return
      }
    }
  }
}

export const asTheFileSays = "skipped as the file says"

export const unknownMessage = ({ name: { text }, words, block }: Statement): string => {
  if (block !== undefined) return `unknown block <${text}>`
  if (words.length === 0 && looksLikeKeyMaterial(text)) return "a line of a key or certificate outside of a block"
  return `unknown directive ${quote(text)}`
}

/** Long runs of hex or base64 must not appear in a message. */
const looksLikeKeyMaterial = (text: string): boolean => text.length >= 24 && /^[A-Za-z0-9+/=]+$/.test(text)

/** Whether the line of an unknown directive is one that was meant to be another, which has no secret in it. */
export const isMisspelling = (name: string): boolean => {
  const meant = nearest(name, Object.keys(directives))
  return meant !== undefined && isDirective(meant) && !rowOf(meant).secret
}

const hintForUnknown = (name: string): string | undefined => {
  if (/^<(!doctype|html|\?xml|head|body)\b/i.test(name)) return "this is a web page: was the download complete?"
  if (/^(<{7}|={7}|>{7}|\|{7})/.test(name)) return "this is a merge conflict marker: resolve the conflict"
  if (/^-----/.test(name)) return "keys and certificates belong into a block such as <ca>"
  if (/[^\x20-\x7e]/.test(name)) return "it has characters that no directive has: was it copied from formatted text?"
  if (isDirective(name.toLowerCase())) return `names are written in lower case: "${name.toLowerCase()}"`
  const near = nearest(name, Object.keys(directives))
  return near === undefined ? undefined : `did you mean "${near}"?`
}
