/** The reference page of the configuration format, written from the directive table. */
import { acceptedHere, refusedHere } from "./differences.ts"
import { sections } from "./directives.ts"
import { type Row, syntaxOf } from "./row.ts"

/** Markdown; `docs/configuration.md` holds it, and a test compares the two. */
export const referencePage = (): string => [introduction, ...sections.map(section), differences()].join("\n")

const introduction = `# Configuration reference

Culvert reads OpenVPN client configuration files. This page is written from the directive table in \`src/config/\`.

One line holds one directive. \`#\` and \`;\` begin a comment; double quotes (with \`\\\\\` and \`\\"\`) and single quotes hold words with blanks.
A directive that takes a file can carry its content in a block \`<name>\` ... \`</name>\` instead. Relative file names start from the
directory of the configuration file, or from \`cd\`. Times are in seconds, sizes in bytes.

Every directive has one of three outcomes. *Honoured*: it does what OpenVPN 2.6 does. *No effect*: it is accepted, and a note says why it
means nothing here. *Refused*: the file is rejected, since leaving the directive out would change what the file means or weaken it. A
directive that is not on this page is unknown and an error, unless \`setenv opt\`, \`ignore-unknown-option\` or
\`setenv FORWARD_COMPATIBLE 1\` says otherwise. When a directive is given twice, the last one holds, unless the page says that it repeats.

Where: C may stand in a \`<connection>\` block, B may be a block, P may be pushed by the server, U may be changed by \`PUSH_UPDATE\`, R repeats.
`

const section = ({ title, rows }: { readonly title: string; readonly rows: Readonly<Record<string, Row>> }): string =>
  [
    `## ${title}`,
    "",
    "| Directive | Where | Default | Outcome | Meaning |",
    "|---|---|---|---|---|",
    ...Object.entries(rows).map(
      ([name, row]) =>
        `| \`${cell(syntaxOf(name, row))}\` | ${places(row)} | ${defaultOf(row)} | ${outcome(row)} | ${cell(row.doc)} |`,
    ),
    "",
  ].join("\n")

const differences = (): string =>
  [
    "## Where OpenVPN judges otherwise",
    "",
    "Apart from these, a file is accepted here when OpenVPN 2.6 accepts it; a test asks the installed `openvpn` about generated files.",
    "",
    "| OpenVPN accepts, refused here | Why |",
    "|---|---|",
    ...refusedHere.map(({ what, because }) => `| ${what} | ${because} |`),
    "",
    "| OpenVPN refuses, accepted here | Why |",
    "|---|---|",
    ...acceptedHere.map(({ what, because }) => `| ${what} | ${because} |`),
    "",
  ].join("\n")

const places = (row: Row): string =>
  [
    row.connection ? "C" : "",
    row.content !== undefined || row.block ? "B" : "",
    row.pushOnly ? "P only" : row.push !== undefined ? "P" : "",
    row.updatable ? "U" : "",
    row.repeats ? "R" : "",
  ]
    .filter((place) => place !== "")
    .join(" ")

const defaultOf = ({ default: values, otherwise, takes }: Row): string => {
  if (values === undefined) return otherwise ?? ""
  const grammars = [...takes.required, ...takes.optional]
  return values.map((value, index) => grammars[index]!.write(value)).join(" ")
}

const outcome = ({ status }: Row): string => {
  switch (status.tag) {
    case "honoured":
      return "honoured"
    case "ignored":
      return `no effect: ${cell(status.because)}`
    case "refused":
      return `refused: ${cell(status.because)}`
  }
}

const cell = (text: string): string => text.replaceAll("|", "\\|")
