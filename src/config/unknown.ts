/** Directives that are not in the table: errors with a hint, unless the file itself expects them to be unknown. */
import { type Diagnostics, quote } from "./diagnostic.ts"
import { type DirectiveName, directives, isDirective, rowOf } from "./directives.ts"
import type { Statement } from "./lexer.ts"
import type { Settings } from "./settings.ts"
import { nearest } from "./spelling.ts"

/** What a file says about directives that it expects to be unknown, above their line or below it. */
export class Tolerance {
  #everything = false
  readonly #names = new Set<string>()
  readonly #unknown: Array<{ readonly statement: Statement; readonly place: Settings }> = []

  learn({ name, words }: Statement): void {
    if (name.text === "ignore-unknown-option") for (const { text } of words) this.#names.add(text)
    else if (name.text === "setenv" && words[0]?.text === "FORWARD_COMPATIBLE" && words.length === 2)
      this.#everything ||= words[1]!.text === "1"
  }

  /** `place`: where it stands. */
  unknown(statement: Statement, place: Settings): void {
    this.#unknown.push({ statement, place })
  }

  /** When all has been learnt. What a misspelt directive was meant to be is not missing. */
  judge(report: Diagnostics): void {
    let keyLine: number | undefined
    for (const { statement, place } of this.#unknown) {
      const { name } = statement
      // Of a key outside of a block only the first line is spoken of; a blank line may stand after its headers.
      if (keyLine !== undefined && name.line <= keyLine + 2 && !name.text.startsWith(keyBegins)) {
        keyLine = name.text.startsWith(keyEnds) ? undefined : name.line
        continue
      }
      keyLine = name.text.startsWith(keyBegins) ? name.line : undefined
      if (this.#everything || this.#names.has(name.text)) {
        if (report.takesNotes) report.info(name, `${unknownMessage(statement)}; ${asTheFileSays}`)
      } else if (report.isFull) {
        report.abandon(name)
        return
      } else {
        const meant = meantBy(name.text)
        if (meant !== undefined) place.addFaulty(meant)
        report.error(name, unknownMessage(statement), hintForUnknown(name.text, meant))
      }
    }
  }
}

export const asTheFileSays = "skipped as the file says"

export const unknownMessage = ({ name: { text }, words, block }: Statement): string => {
  if (block !== undefined) return `unknown block <${text}>`
  if (text.startsWith(keyBegins)) return "a key or certificate outside of a block"
  if (words.length === 0 && looksLikeKeyMaterial(text)) return "a line of a key or certificate outside of a block"
  return `unknown directive ${quote(text)}`
}

const keyBegins = "-----BEGIN"
const keyEnds = "-----END"

/** Long runs of hex or base64 must not appear in a message. */
const looksLikeKeyMaterial = (text: string): boolean => text.length >= 24 && /^[A-Za-z0-9+/=]+$/.test(text)

/** Whether the line of an unknown directive is one that was meant to be another, which has no secret in it. */
export const isMisspelling = (name: string): boolean => {
  const meant = meantBy(name)
  return meant !== undefined && !rowOf(meant).secret
}

const meantBy = (name: string): DirectiveName | undefined => {
  // Up to a blank that is no ASCII, and without a mark that nobody sees.
  const plain = (/[\x21-\x7e]+/.exec(name)?.[0] ?? "").toLowerCase()
  const meant = isDirective(plain) ? plain : nearest(name, Object.keys(directives))
  return meant !== undefined && isDirective(meant) ? meant : undefined
}

const hintForUnknown = (name: string, meant: DirectiveName | undefined): string | undefined => {
  if (/^<(!doctype|html|\?xml|head|body)\b/i.test(name)) return "this is a web page: was the download complete?"
  if (/^(<{7}|={7}|>{7}|\|{7})/.test(name)) return "this is a merge conflict marker: resolve the conflict"
  if (name.startsWith("-----")) return "keys and certificates belong into a block such as <ca>"
  const foreign = /[^\x20-\x7e]/u.exec(name)?.[0]
  if (foreign !== undefined) {
    const codePoint = foreign.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")
    return `it has a character that no directive has, U+${codePoint}: was it copied from formatted text?`
  }
  if (meant === name.toLowerCase()) return `names are written in lower case: "${meant}"`
  return meant === undefined ? undefined : `did you mean "${meant}"?`
}
