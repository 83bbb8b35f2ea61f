/**
 * `PUSH_UPDATE` (OpenVPN 2.7): changes to options that were pushed before. `option` sets, `-option` removes; a `?` before the name
 * says that a client that cannot do it may go on without. The result is again a list of options, for `readPush`.
 */
import { quote } from "./diagnostic.ts"
import { isDirective, rowOf } from "./directives.ts"
import type { PushPolicy } from "./push.ts"

export interface PushUpdated {
  /** What holds from now on. */
  readonly options: ReadonlyArray<string>
  /** Why a change was skipped; without secrets. */
  readonly notes: ReadonlyArray<string>
  /** Why the update cannot be carried out: the connection must start anew. */
  readonly restart: string | undefined
}

/** The options of the texts after `PUSH_REPLY,` or `PUSH_UPDATE,` of all continuation parts, in order. */
export const pushOptions = (messages: ReadonlyArray<string>): ReadonlyArray<string> =>
  messages
    .flatMap((message) => message.split(",", maximumOptions))
    .map((option) => option.trim())
    .filter((option) => option !== "")

/** `current`: the options that hold. `messages`: all parts of one update, after `PUSH_UPDATE,`. */
export const updatePush = (
  current: ReadonlyArray<string>,
  messages: ReadonlyArray<string>,
  { pullFilters }: Pick<PushPolicy, "pullFilters">,
): PushUpdated => {
  const notes: Array<string> = []
  const replaced = new Set<string>()
  let options = current
  let restart: string | undefined
  for (const written of pushOptions(messages)) {
    const [, minus, question, option] = /^(-?)(\??)(.*)$/s.exec(written)!
    const name = nameOf(option!)
    const action = pullFilters.find(({ prefix }) => option!.startsWith(prefix))?.action
    const complaint = action === "ignore" || action === "reject" ? `pull-filter ${action}` : notUpdatable(name)
    if (complaint !== undefined) {
      if (question === "?" || action === "ignore") notes.push(`${quote(name)} is skipped: ${complaint}`)
      else restart ??= `the server's update of ${quote(name)} cannot be carried out: ${complaint}`
      continue
    }
    // The first of its name takes the place of all that were pushed before, further ones of the same update add to it.
    if (minus === "-" || !replaced.has(name)) options = options.filter((other) => nameOf(other) !== name)
    if (minus === "-") continue
    replaced.add(name)
    options = [...options, option!]
  }
  return { options: options.slice(0, maximumOptions), notes, restart }
}

const notUpdatable = (name: string): string | undefined => {
  if (!isDirective(name)) return "it is unknown"
  const { updatable, push, status } = rowOf(name)
  // What has no effect here is as good changed as not.
  const isVain = push !== undefined && status.tag === "ignored"
  return updatable || isVain ? undefined : "it cannot be changed while connected"
}

const nameOf = (option: string): string => option.split(/\s/, 1)[0]!

/** Far more than control messages could be meant to carry. */
const maximumOptions = 2000
