/** The tables of docs/kubernetes.md, from the tables that the program reads. */
import { table as settings } from "./settings.ts"
import { table as annotations, domainName } from "./wishes.ts"

/** The page with what stands between its markers made anew. */
export const withReference = (page: string): string =>
  Object.entries({ annotations: annotationRows(), settings: settingRows() }).reduce(
    (text, [name, rows]) =>
      text.replace(
        new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- end -->)`),
        (_, begin: string, end: string) => `${begin}\n${rows.join("\n")}\n\n${end}`,
      ),
    page,
  )

const annotationRows = (): ReadonlyArray<string> => [
  "| annotation | meaning |",
  "|---|---|",
  ...Object.entries(annotations).map(([name, row]) => `| \`${domainName}/${name}\` | ${row?.documentation ?? ""} |`),
]

const settingRows = (): ReadonlyArray<string> => [
  "| flag | variable | default | meaning |",
  "|---|---|---|---|",
  ...Object.values(settings).map(
    ({ flag, variable, default: fallback, documentation }) =>
      `| \`--${flag}\` | \`${variable}\` | ${fallback ? `\`${fallback}\`` : ""} | ${documentation} |`,
  ),
]
