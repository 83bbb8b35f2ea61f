/**
 * The directive table: every directive of OpenVPN 2.6 (and the few of 2.7 that servers and files use already), once.
 * A directive that is missing here is unknown.
 */
import { connection } from "./directives/connection.ts"
import { crypto } from "./directives/crypto.ts"
import { foreign } from "./directives/foreign.ts"
import { network } from "./directives/network.ts"
import { process } from "./directives/process.ts"
import type { DefaultedRow, Row } from "./row.ts"

/** In the order of the reference page. */
export const sections = [
  { title: "Connection", rows: connection },
  { title: "Tunnel, routes and names", rows: network },
  { title: "Keys, certificates and ciphers", rows: crypto },
  { title: "Process, scripts and logging", rows: process },
  { title: "Servers, other systems and commands", rows: foreign },
] as const satisfies ReadonlyArray<{ title: string; rows: Record<string, Row> }>

export const directives = { ...connection, ...network, ...crypto, ...process, ...foreign } satisfies Record<string, Row>

export type DirectiveName = keyof typeof directives
/** The values of a directive's words, in the types of their grammars. */
export type ValuesOf<N extends DirectiveName> = N extends DirectiveName
  ? (typeof directives)[N] extends Row<infer A>
    ? A
    : never
  : never
/** Directives whose row states a default. */
export type DefaultedName = {
  [N in DirectiveName]: (typeof directives)[N] extends DefaultedRow<ReadonlyArray<unknown>> ? N : never
}[DirectiveName]

export const isDirective = (name: string): name is DirectiveName => table.has(name)

export const rowOf = (name: DirectiveName): Row => table.get(name)!

const table: ReadonlyMap<string, Row> = new Map(Object.entries(directives))
