/**
 * The OpenVPN configuration format: text to `Profile` and back, pushed options, and diagnostics with their places. Pure: no file is
 * read and nothing is remembered.
 */
export type { FileNeed, ReadFile } from "./content.ts"
export { type Diagnostic, explainDiagnostic, formatDiagnostic } from "./diagnostic.ts"
export type { CertificateFacts, Inspection, KeyMaterial, RevocationFacts } from "./inspection.ts"
export { type Json, profileJson, readsBack } from "./json.ts"
export { needs, type Parsed, type ParseOptions, parse } from "./parse.ts"
export { print } from "./print.ts"
export * from "./profile.ts"
export { Pushed, type PushPolicy, type PushRead, readPush } from "./push.ts"
export { type PushUpdated, pushOptions, updatePush } from "./push-update.ts"
export { referencePage } from "./reference.ts"
