/** Runs one of the system's programs to its end with a text on its standard input. */
import { Effect, Stream } from "effect"
import { ChildProcess, type ChildProcessSpawner } from "effect/process"

export interface Finished {
  readonly stdout: string
  readonly stderr: string
  readonly code: number
}

export type Run = (args: ReadonlyArray<string>, input: string) => Effect.Effect<Finished, { readonly message: string }>

export const runner =
  (spawner: ChildProcessSpawner.ChildProcessSpawner["Service"], program: string): Run =>
  (args, input) =>
    Effect.scoped(
      Effect.gen(function* () {
        const stdin = Stream.make(new TextEncoder().encode(input))
        const handle = yield* spawner.spawn(
          ChildProcess.make(program, [...args], { stdin, env: { LC_ALL: "C" }, extendEnv: true }),
        )
        const [stdout, stderr, code] = yield* Effect.all(
          [
            Stream.mkString(Stream.decodeText(handle.stdout)),
            Stream.mkString(Stream.decodeText(handle.stderr)),
            handle.exitCode,
          ],
          { concurrency: "unbounded" },
        )
        return { stdout, stderr, code: Number(code) }
      }),
    )
