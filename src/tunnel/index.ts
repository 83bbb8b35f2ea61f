/** What the rest of the program needs of the tunnel: run it, look at it. */

export { dropDirections } from "../dataplane/drop.ts"
export { Control, type Wish } from "./control.ts"
export { type CredentialPlaces, Credentials, credentialFiles, credentialsFrom } from "./credentials.ts"
export { DataPlane } from "./dataplane.ts"
export {
  type AttemptReason,
  AuthenticationRefused,
  GaveUp,
  HostRefused,
  KeepsCrashing,
  type TunnelError,
} from "./errors.ts"
export { type Pod, type PodSettings, readPod } from "./pod.ts"
export { raise } from "./raise.ts"
export type { ReadyTarget } from "./readycheck.ts"
export type { Configuration, ConfigurationSource } from "./reload.ts"
export { type Happened, type Phase, type Status, StatusRef } from "./status.ts"
export { startSupervised } from "./supervisor.ts"
export { run } from "./tunnel.ts"
