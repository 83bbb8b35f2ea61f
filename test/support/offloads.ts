/** Which offloads the environment switches off: the program's own setting, which tests of the data plane follow as well. */
import { type OffloadName, offloadNames } from "../../src/dataplane/offload.ts"

export function disabledOffloads(): ReadonlyArray<OffloadName> {
  const given = (process.env.CULVERT_DISABLE_OFFLOADS ?? "").split(",").map((name) => name.trim())
  return offloadNames.filter((name) => given.includes(name))
}
