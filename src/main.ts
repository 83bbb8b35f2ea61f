#!/usr/bin/env bun
/** Launches the program, and first of all the thread of its data plane, which starts while the rest is loading. */
import { prepareThread } from "./dataplane/thread.ts"

if (process.argv[2] === "start") {
  prepareThread()
  await import("./cli/plainstart.ts")
} else await import("./cli/program.ts")
