/** The hot path: a worker that owns the transport and carries packets between it and the tun. */
export type { Command, Event, ReplayWindowSize } from "./commands.ts"
export {
  type CounterName,
  type CounterReader,
  counterNames,
  counterReader,
  createCounterMemory,
  createLinkCounterMemory,
  type LinkCounterName,
  linkCounterReader,
} from "./counters.ts"
export { type DataPlaneHandle, type DataPlaneOptions, startDataPlane } from "./dataplane.ts"
export { type DropReason, dropReasons } from "./drop.ts"
export { type OffloadName, offloadNames } from "./offload.ts"
