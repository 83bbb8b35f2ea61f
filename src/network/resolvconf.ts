/** `/etc/resolv.conf` as data, and the form of it that points at the forwarder. Pure. */

export interface ResolvConf {
  readonly nameservers: ReadonlyArray<string>
  readonly search: ReadonlyArray<string>
  /** `ndots:5`, `timeout:2`... */
  readonly options: ReadonlyArray<string>
}

/**
 * Reads a file. One that `forwarding` wrote is read as the original that it keeps in comments: a container that starts again
 * finds its predecessor's file, because all containers of a pod share one.
 */
export const parseResolvConf = (text: string): ResolvConf => {
  const lines = text.split("\n")
  const kept = lines.filter((line) => line.startsWith(keptPrefix)).map((line) => line.slice(keptPrefix.length))
  const nameservers: Array<string> = []
  let search: ReadonlyArray<string> = []
  const options: Array<string> = []
  for (const line of kept.length > 0 ? kept : lines) {
    const [keyword, ...words] = line
      .replace(/[#;].*$/, "")
      .trim()
      .split(/\s+/)
    if (keyword === "nameserver" && words[0] !== undefined && /^[0-9a-fA-F.:]+$/.test(words[0]))
      nameservers.push(words[0])
    // Of several lines the last one counts.
    if (keyword === "search" || keyword === "domain") search = words
    if (keyword === "options") options.push(...words)
  }
  return { nameservers, search, options }
}

/** The file that sends every query to `nameserver`, with options as they were and `more` behind the search list. */
export const forwarding = (original: string, nameserver: string, more: ReadonlyArray<string>): string => {
  const { search: own, options } = parseResolvConf(original)
  const search = [...new Set([...own, ...more])]
  const kept = original.split("\n").filter((line) => line.startsWith(keptPrefix))
  return [
    "# written by culvert, which forwards names; the lines of the original follow",
    ...(kept.length > 0
      ? kept
      : original
          .trim()
          .split("\n")
          .map((line) => `${keptPrefix}${line}`)),
    `nameserver ${nameserver}`,
    ...(search.length > 0 ? [`search ${search.join(" ")}`] : []),
    ...(options.length > 0 ? [`options ${options.join(" ")}`] : []),
    "",
  ].join("\n")
}

/** Undefined when the file is not one of ours. */
export const originalOf = (text: string): string | undefined => {
  const kept = text.split("\n").filter((line) => line.startsWith(keptPrefix))
  return kept.length === 0 ? undefined : `${kept.map((line) => line.slice(keptPrefix.length)).join("\n")}\n`
}

const keptPrefix = "#culvert# "
