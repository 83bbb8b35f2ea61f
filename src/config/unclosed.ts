/** A block whose closing line is missing: where its content seems to end, so that the rest of the file is looked at all the same. */

export interface Unclosed {
  readonly hint: string
  /** The index of the line at which reading goes on; the number of lines when nothing tells where the content ends. */
  readonly next: number
}

/** Of the block `<tag>`, whose content begins at the index `from`. `firstLine` is the number of the first line in its file. */
export const afterUnclosed = (lines: ReadonlyArray<string>, from: number, tag: string, firstLine: number): Unclosed => {
  let afterMarker: number | undefined
  for (let index = from; index < lines.length; index++) {
    const line = lines[index]!.trimStart()
    if (line.startsWith("-----END ")) afterMarker = index + 1
    const found = line.startsWith("<") ? /^<(\/?) *[A-Za-z0-9-]{1,64} *>/.exec(line) : null
    if (found === null) continue
    // Between them no block was opened that it could close.
    if (found[1] === "/") return { hint: `line ${firstLine + index} says ${found[0]}`, next: index + 1 }
    return endingAt(afterMarker ?? index, tag, firstLine)
  }
  if (afterMarker !== undefined) return endingAt(afterMarker, tag, firstLine)
  return { hint: `add a line </${tag}> after its content`, next: lines.length }
}

/** By tag, the index of the last line that closes a block of it. */
export const closingLines = (lines: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const last = new Map<string, number>()
  for (const [index, line] of lines.entries()) {
    if (!line.includes("</")) continue
    const tag = /^<\/([a-z0-9-]{1,64})>/.exec(line.trimStart())?.[1]
    if (tag !== undefined) last.set(tag, index)
  }
  return last
}

const endingAt = (next: number, tag: string, firstLine: number): Unclosed => ({
  hint: `add a line </${tag}> after line ${firstLine + next - 1}`,
  next,
})
