/** Words that the schemas of a profile share. */
import { Schema } from "effect"

/** `UndefinedOr` with a type that declarations can name. */
export const optional = <S extends Schema.Constraint>(schema: S): Schema.UndefinedOr<S> => Schema.UndefinedOr(schema)
/** Both ends included. */
export const between = (minimum: number, maximum: number) =>
  Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum, maximum })))
export const Port = between(1, 65535)
export const Seconds = between(0, 2147483647)
export const SecretString = Schema.Redacted(Schema.String)
/** 256 bytes: two slots of 64 bytes cipher key and 64 bytes HMAC key. */
export const StaticKey = Schema.Redacted(
  Schema.Uint8Array.pipe(Schema.check(Schema.makeFilter((key) => key.length === 256))),
)
/** As in the file: 0, 1, or undefined for one key in both directions. */
export const KeyDirection = optional(Schema.Literals([0, 1]))
