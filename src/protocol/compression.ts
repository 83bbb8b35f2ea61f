/**
 * Which framing of compression the data channel has. Nothing that is sent is compressed: a byte in front of (or in place of)
 * the first one of the payload says so. What a server sends compressed is taken only when the file allows it.
 *
 *     lzo      fa payload                       66 compressed with LZO
 *     stub     fb payload without its first byte, which stands behind it        69 likewise, compressed with LZ4
 *     stub-v2  payload; one that begins with 50: 50 00 payload                  50 01 compressed with LZ4
 */
import * as Result from "effect/Result"
import type { Compression } from "../config/profile.ts"
import type { CompressionFraming } from "./output.ts"

/** `pushed` as the server wrote it, `file` as the profile has it. Fails with why it cannot be had. */
export const chooseCompression = (
  pushed: string | undefined,
  file: Compression | undefined,
): Result.Result<CompressionFraming | undefined, string> => {
  const decompress = file?.allow === "asym"
  if (pushed === undefined) return Result.succeed(ownFraming(file))
  const row = pushable.get(pushed)
  if (row === undefined) return Result.fail(`the server pushed "${pushed}", which is no framing that is known`)
  if (row.compresses && !decompress)
    return Result.fail(
      `the server pushed "${pushed}", but compressed packets are taken only with "compress" and "allow-compression asym" in the file`,
    )
  return Result.succeed({ form: row.form, decompress })
}

/** The framing where nobody pushes another one. */
export const ownFraming = (file: Compression | undefined): CompressionFraming | undefined =>
  file && { form: forms[file.framing], decompress: file.allow === "asym" }

const forms = {
  "lzo-off": "lzo",
  lzo: "lzo",
  stub: "stub",
  lz4: "stub",
  "stub-v2": "stub-v2",
  "lz4-v2": "stub-v2",
} as const satisfies Record<Compression["framing"], CompressionFraming["form"]>

const pushable: ReadonlyMap<string, { readonly form: CompressionFraming["form"]; readonly compresses: boolean }> =
  new Map([
    ["comp-lzo no", { form: "lzo", compresses: false }],
    ["comp-lzo", { form: "lzo", compresses: true }],
    ["comp-lzo yes", { form: "lzo", compresses: true }],
    ["comp-lzo adaptive", { form: "lzo", compresses: true }],
    ["compress lzo", { form: "lzo", compresses: true }],
    ["compress", { form: "stub", compresses: false }],
    ["compress stub", { form: "stub", compresses: false }],
    ["compress lz4", { form: "stub", compresses: true }],
    ["compress stub-v2", { form: "stub-v2", compresses: false }],
    ["compress lz4-v2", { form: "stub-v2", compresses: true }],
  ])
