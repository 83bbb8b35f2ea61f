/** What a configuration says, by directive: typed values in order, and which of several occurrences holds. */
import { type DefaultedName, type DirectiveName, directives, type ValuesOf } from "./directives.ts"
import type { Block, Position, Word } from "./lexer.ts"

export interface Setting<A = ReadonlyArray<unknown>> extends Position {
  readonly name: DirectiveName
  readonly values: A
  /** Of a row with `content`; undefined when it is optional and absent. */
  readonly content: Content | undefined
  /** Whether it is a line of a block that the row has for its words. */
  readonly inBlock: boolean
  /** Of a `<connection>`. */
  readonly inner: Settings | undefined
}

export type Content = { readonly tag: "file"; readonly path: Word } | { readonly tag: "inline"; readonly block: Block }

/** `[inline]` in the place of a file name: the content is in the block of the same name. */
export const standsForBlock = ({ content }: Setting): boolean =>
  content?.tag === "file" && content.path.text === "[inline]"

/** The settings of one file, of one `<connection>` block, or of one push, in order. */
export class Settings {
  readonly #byName: Map<DirectiveName, Array<Setting>>
  #faulty: Set<DirectiveName> | undefined
  readonly #outer: { readonly settings: Settings; readonly line: number } | undefined

  constructor(inner?: Settings, outer?: { readonly settings: Settings; readonly line: number }) {
    this.#byName = inner === undefined ? new Map() : inner.#byName
    this.#faulty = inner === undefined ? undefined : inner.#faulty
    this.#outer = outer
  }

  add(setting: Setting): void {
    const same = this.#byName.get(setting.name)
    if (same === undefined) this.#byName.set(setting.name, [setting])
    else same.push(setting)
  }

  /** The directive stands there, but with a fault. */
  addFaulty(name: DirectiveName): void {
    this.#faulty ??= new Set()
    this.#faulty.add(name)
  }

  /** Whether the directive stands there, be it faulty. What is missing is only complained about when it does not. */
  mentions(name: DirectiveName): boolean {
    return this.#byName.has(name) || this.#faulty?.has(name) === true
  }

  has(name: DirectiveName): boolean {
    return this.last(name) !== undefined
  }

  /** What is given in this place itself. */
  names(): ReadonlyArray<DirectiveName> {
    return [...this.#byName.keys()]
  }

  /** Every occurrence in this place itself. */
  all<N extends DirectiveName>(name: N): ReadonlyArray<Setting<ValuesOf<N>>> {
    return (this.#byName.get(name) ?? none) as ReadonlyArray<Setting> as ReadonlyArray<Setting<ValuesOf<N>>>
  }

  /** The occurrence that holds. */
  last<N extends DirectiveName>(name: N): Setting<ValuesOf<N>> | undefined {
    const own = this.all(name)
    if (own.length > 0 || this.#outer === undefined) return own[own.length - 1]
    const { settings, line } = this.#outer
    const above = settings.all(name)
    return above[countBefore(above, line) - 1]
  }

  /**
   * The occurrences that hold: those of this place itself, or of the place around it when there are none. No more than fit a
   * purpose, since what stands around many blocks holds in each of them.
   */
  every<N extends DirectiveName>(name: N): ReadonlyArray<Setting<ValuesOf<N>>> {
    const own = this.all(name)
    if (own.length > 0 || this.#outer === undefined) return own.slice(0, maximumOccurrences)
    const { settings, line } = this.#outer
    const above = settings.all(name)
    return above.slice(0, Math.min(maximumOccurrences, countBefore(above, line)))
  }

  /** The values that hold: the file's, else the table's default. */
  values<N extends DefaultedName>(name: N): ValuesOf<N> {
    return this.last(name)?.values ?? defaultOf(name)
  }

  /** Of several directives that set the same thing, the one that stands last. */
  lastOf<N extends DirectiveName>(...names: ReadonlyArray<N>): Setting<ValuesOf<N>> | undefined {
    let latest: Setting<ValuesOf<N>> | undefined
    for (const name of names) {
      const setting = this.last(name)
      if (setting !== undefined && (latest === undefined || setting.line > latest.line)) latest = setting
    }
    return latest
  }

  /** These settings as a block sees them that stands in `outer` at a line: what it does not say, those above it say. */
  within(outer: Settings, line: number): Settings {
    return new Settings(this, { settings: outer, line })
  }

  /** These settings and `others`. */
  with(others: Settings): Settings {
    const both = new Settings()
    for (const setting of [...this.#each(), ...others.#each()]) both.add(setting)
    for (const name of [...(this.#faulty ?? []), ...(others.#faulty ?? [])]) both.addFaulty(name)
    return both
  }

  #each(): ReadonlyArray<Setting> {
    return [...this.#byName.values()].flat()
  }
}

export const defaultOf = <N extends DefaultedName>(name: N): ValuesOf<N> =>
  directives[name].default as unknown as ValuesOf<N>

/** How many of settings in the order of the file stand above a line. By halves, as many blocks ask about many lines. */
const countBefore = (settings: ReadonlyArray<Setting<unknown>>, line: number): number => {
  let low = 0
  let high = settings.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (settings[middle]!.line < line) low = middle + 1
    else high = middle
  }
  return low
}

const none: ReadonlyArray<Setting> = []

/** Of `every`: OpenVPN takes ten headers for a proxy. */
const maximumOccurrences = 32
