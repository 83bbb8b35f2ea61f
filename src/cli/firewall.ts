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
    yield* Console.log(
      before === undefined
        ? "there was no kill switch here"
        : "the kill switch is removed: from now on everything may leave the pod",
    )
  }),
).pipe(Command.withDescription("Remove the kill switch: everything may then leave the pod"))

export const firewall = Command.make("firewall").pipe(
  Command.withDescription("Show or remove the kill switch, which stays when Culvert ends"),
  Command.withSubcommands([show, clear]),
  Command.provide(Nft.layer),
)
