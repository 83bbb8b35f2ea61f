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
  /** Of a `<connection>`: what it says, and the line of the last setting above it. */
  readonly inner: { readonly settings: Settings; readonly below: number } | undefined
}

export type Content = { readonly tag: "file"; readonly path: Word } | { readonly tag: "inline"; readonly block: Block }

/** `[inline]` in the place of a file name: the content is in the block of the same name. */
export const standsForBlock = ({ content }: Setting): boolean =>
  content?.tag === "file" && content.path.text === "[inline]"

/** The settings of one file, of one `<connection>` block, or of one push, in order. */
export class Settings {
  /** In the order of the file. */
  readonly #settings: Array<Setting>
  /** Made when there are many to look through: seldom in a block, and a file may have very many of those. */
  #byName: ReadonlyMap<DirectiveName, ReadonlyArray<Setting>> | undefined
  #faulty: Set<DirectiveName> | undefined
  readonly #outer: Outer | undefined
  #lastLine = 0
  #view: Settings | undefined

  constructor(inner?: Settings, outer?: Outer) {
    this.#settings = inner === undefined ? [] : inner.#settings
    this.#byName = inner === undefined ? undefined : inner.#byName
    this.#faulty = inner === undefined ? undefined : inner.#faulty
    this.#outer = outer
  }

  add(setting: Setting): void {
    this.#settings.push(setting)
    this.#byName = undefined
    if (setting.inner === undefined) this.#lastLine = setting.line
  }

  /** The directive stands there, but with a fault. */
  addFaulty(name: DirectiveName): void {
    this.#faulty ??= new Set()
    this.#faulty.add(name)
  }

  /** Whether the directive stands there, be it faulty. What is missing is only complained about when it does not. */
  mentions(name: DirectiveName): boolean {
    return this.all(name).length > 0 || this.#faulty?.has(name) === true
  }

  has(name: DirectiveName): boolean {
    return this.last(name) !== undefined
  }

  /** Of the last of them that is no block with settings of its own; 0 without one. */
  get lastLine(): number {
    return this.#lastLine
  }

  /** How many occurrences there are in this place itself. */
  get size(): number {
    return this.#settings.length
  }

  /** What is given in this place itself. */
  names(): ReadonlyArray<DirectiveName> {
    if (this.#settings.length > few) return [...this.#index().keys()]
    const names: Array<DirectiveName> = []
    for (const { name } of this.#settings) if (!names.includes(name)) names.push(name)
    return names
  }

  /** Every occurrence in this place itself. */
  all<N extends DirectiveName>(name: N): ReadonlyArray<Setting<ValuesOf<N>>> {
    const found = this.#settings.length > few ? this.#index().get(name) : this.#among(name)
    return (found ?? none) as ReadonlyArray<Setting> as ReadonlyArray<Setting<ValuesOf<N>>>
  }

  /** The occurrence that holds. */
  last<N extends DirectiveName>(name: N): Setting<ValuesOf<N>> | undefined {
    const own = this.#settings.length > few ? this.#index().get(name)?.at(-1) : this.#lastAmong(name)
    if (own !== undefined || this.#outer === undefined) return own as Setting<ValuesOf<N>> | undefined
    const { settings, line } = this.#outer
    const above = settings.all(name)
    return above.length === 0 ? undefined : above[countUpTo(above, line) - 1]
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
    return above.slice(0, Math.min(maximumOccurrences, countUpTo(above, line)))
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

  /**
   * What holds in a block that says nothing itself, and has these settings above it up to a line. One object for the blocks that
   * follow each other below that line.
   */
  upTo(line: number): Settings {
    if (this.#view === undefined || this.#view.#outer?.line !== line)
      this.#view = new Settings(undefined, { settings: this, line })
    return this.#view
  }

  /** These settings as their block sees them: what it does not say, `view` says, which is what holds in a block without them. */
  within(view: Settings): Settings {
    return new Settings(this, view.#outer)
  }

  /** These settings and `others`. */
  with(others: Settings): Settings {
    const both = new Settings()
    for (const setting of [...this.#settings, ...others.#settings]) both.add(setting)
    for (const name of [...(this.#faulty ?? []), ...(others.#faulty ?? [])]) both.addFaulty(name)
    return both
  }

  #among(name: DirectiveName): ReadonlyArray<Setting> | undefined {
    let found: Array<Setting> | undefined
    for (const setting of this.#settings) {
      if (setting.name !== name) continue
      if (found === undefined) found = [setting]
      else found.push(setting)
    }
    return found
  }

  #lastAmong(name: DirectiveName): Setting | undefined {
    for (let index = this.#settings.length - 1; index >= 0; index--)
      if (this.#settings[index]!.name === name) return this.#settings[index]
    return undefined
  }

  #index(): ReadonlyMap<DirectiveName, ReadonlyArray<Setting>> {
    if (this.#byName !== undefined) return this.#byName
    const byName = new Map<DirectiveName, Array<Setting>>()
    for (const setting of this.#settings) {
      const same = byName.get(setting.name)
      if (same === undefined) byName.set(setting.name, [setting])
      else same.push(setting)
    }
    this.#byName = byName
    return byName
  }
}

interface Outer {
  readonly settings: Settings
  /** Of its settings those apply that stand no further down. */
  readonly line: number
}

export const defaultOf = <N extends DefaultedName>(name: N): ValuesOf<N> =>
  directives[name].default as unknown as ValuesOf<N>

/** How many of settings in the order of the file stand no further down than a line. By halves, as many blocks ask about many lines. */
const countUpTo = (settings: ReadonlyArray<Setting<unknown>>, line: number): number => {
  let low = 0
  let high = settings.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (settings[middle]!.line <= line) low = middle + 1
    else high = middle
  }
  return low
}

const none: ReadonlyArray<Setting> = []

/** Up to so many settings are looked through one by one. */
const few = 8

/** Of `every`: OpenVPN takes ten headers for a proxy. */
const maximumOccurrences = 32
