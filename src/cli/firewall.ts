/** `culvert firewall show` and `culvert firewall clear`: what the kill switch lets out, and how to be rid of it. */
import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { explain, Nft } from "../network/index.ts"

const show = Command.make(
  "show",
  {},
  Effect.fnUntraced(function* () {
    const nft = yield* Nft
    yield* Console.log(explain(yield* nft.read))
  }),
).pipe(Command.withDescription("Say what may leave and enter the pod"))

const clear = Command.make(
  "clear",
  {},
  Effect.fnUntraced(function* () {
    const nft = yield* Nft
    const before = yield* nft.read
    yield* nft.clear
    if (before === undefined) return yield* Console.log("there was no kill switch here")
    yield* Effect.sleep(guardInterval)
    yield* Console.log(
      (yield* nft.read) === undefined
        ? "the kill switch is removed: from now on everything may leave the pod"
        : "the kill switch is back: Culvert runs here and guards it; stop it first",
    )
  }),
).pipe(Command.withDescription("Remove the kill switch: everything may then leave the pod"))

/** Longer than a running Culvert takes to set it again. */
const guardInterval = "1 second"

export const firewall = Command.make("firewall").pipe(
  Command.withDescription("Show or remove the kill switch, which stays when Culvert ends"),
  Command.withSubcommands([show, clear]),
  Command.provide(Nft.layer),
)
