/** The kernel's packet filter through nftables: `nft -f -` to change it, `nft -j` to read it. */
import { Context, Data, Effect, Layer, Runtime } from "effect"
import { filterGeneration, hasFilterTable } from "../linux/index.ts"
import { tableName } from "./firewall.ts"
import { runner } from "./process.ts"

export class FirewallError extends Data.TaggedError("FirewallError")<{ readonly reason: string }> {
  override readonly [Runtime.errorExitCode] = 71
  override get message() {
    const hint = hints.find(({ when }) => when.test(this.reason))?.hint
    return `the firewall cannot be set: ${this.reason}${hint === undefined ? "" : `; ${hint}`}`
  }
}

/** Of the JSON that nft prints, what is used here. */
export type NftObject =
  | {
      readonly chain: {
        readonly family?: string
        readonly table?: string
        readonly name: string
        readonly type?: string
        readonly hook?: string
        readonly policy?: string
      }
    }
  | { readonly rule: { readonly chain: string; readonly comment?: string; readonly expr: ReadonlyArray<unknown> } }
  | { readonly set: { readonly name: string; readonly elem?: ReadonlyArray<unknown> } }
  | { readonly counter: { readonly name: string; readonly packets: number; readonly bytes: number } }

export class Nft extends Context.Service<
  Nft,
  {
    /**
     * One transaction: all of it or nothing. The generation of the packet filter that it made (`filterGeneration`). Once more when
     * somebody else changed something meanwhile, as which came last cannot be told; undefined when it stays so.
     */
    readonly apply: (ruleset: string) => Effect.Effect<number | undefined, FirewallError>
    /** Our table, undefined when there is none. */
    readonly read: Effect.Effect<ReadonlyArray<NftObject> | undefined, FirewallError>
    readonly clear: Effect.Effect<void, FirewallError>
    /** Tables of others that filter what leaves, as `inet name`. */
    readonly others: Effect.Effect<ReadonlyArray<string>, FirewallError>
  }
>()("culvert/network/Nft") {
  static readonly layer = Layer.sync(Nft, () => {
    const run = runner("nft")
    const nft = (args: ReadonlyArray<string>, input = "") =>
      run(args, input).pipe(
        Effect.mapError(() => new FirewallError({ reason: "the program nft cannot be run" })),
        Effect.flatMap(({ code, stdout, stderr }) =>
          code === 0 ? Effect.succeed(stdout) : Effect.fail(new FirewallError({ reason: firstComplaint(stderr) })),
        ),
      )
    const apply = Effect.fnUntraced(function* (ruleset: string) {
      for (let tries = 0; tries < TRIES; tries++) {
        const before = unlessRefused(filterGeneration)
        yield* nft(["-f", "-"], ruleset)
        const after = unlessRefused(filterGeneration)
        if (before === undefined || after === undefined || after === before) return undefined
        if (after === ((before + 1) & 0xffff)) return after
      }
      return undefined
    })
    const list = nft(["-j", "list", "table", "inet", tableName])
    const table = Effect.suspend(() => (isMissing() ? Effect.undefined : list)).pipe(
      Effect.catch((error) => (isMissing() ? Effect.undefined : Effect.fail(error))),
    )
    return Nft.of({
      apply,
      read: Effect.map(table, (text) => (text === undefined ? undefined : parseObjects(text))),
      others: Effect.map(nft(["-j", "list", "chains"]), (text) => [
        ...new Set(
          parseObjects(text).flatMap((object) =>
            "chain" in object &&
            object.chain.hook === "output" &&
            object.chain.type === "filter" &&
            object.chain.table !== tableName
              ? [`${object.chain.family} ${object.chain.table}`]
              : [],
          ),
        ),
      ]),
      // Adding first makes deleting succeed whether the table was there or not.
      clear: Effect.asVoid(apply(`table inet ${tableName}\ndelete table inet ${tableName}\n`)),
    })
  })
}

const TRIES = 3

/** Asked of the kernel, where `nft` takes a run of its own. */
const isMissing = (): boolean => unlessRefused(() => hasFilterTable(tableName)) === false

/** What else the kernel may say is left to `nft` to explain. */
const unlessRefused = <A>(ask: () => A): A | undefined => {
  try {
    return ask()
  } catch {
    return undefined
  }
}

const parseObjects = (text: string): ReadonlyArray<NftObject> => {
  const value = JSON.parse(text) as { readonly nftables?: ReadonlyArray<NftObject> }
  return value.nftables ?? []
}

const firstComplaint = (stderr: string): string =>
  stderr
    .split("\n")
    .find((line) => /error|fail|permit|denied/i.test(line))
    ?.replace(/^.*?Error: /, "")
    .trim() ??
  (stderr.trim() || "nft failed")

const hints: ReadonlyArray<{ readonly when: RegExp; readonly hint: string }> = [
  {
    when: /cannot be run/,
    hint: "install the package nftables, or do without the kill switch with CULVERT_KILL_SWITCH=off",
  },
  {
    when: /not permitted|denied/i,
    hint: "it needs CAP_NET_ADMIN (securityContext.capabilities.add: [NET_ADMIN])",
  },
  {
    when: /not supported|no such file|cache initialization|protocol/i,
    hint: "the kernel lacks nftables (nf_tables, nft_ct, nft_fib_inet, nft_reject_inet, nft_redir): load these modules on the node, or do without the kill switch with CULVERT_KILL_SWITCH=off",
  },
]
