/** Grammars of setting values. A failure is the end of a sentence that begins with the setting's name. */
import { Result } from "effect"
import { isAddress, isIpv4, isIpv6 } from "../config/address.ts"

export const text = (value: string): Result.Result<string, string> =>
  value === "" ? Result.fail("must not be empty") : Result.succeed(value)

export const oneOf =
  <const A extends ReadonlyArray<string>>(...choices: A) =>
  (value: string): Result.Result<A[number], string> =>
    choices.includes(value) ? Result.succeed(value) : Result.fail(`must be one of ${choices.join(", ")}`)

export interface Listen {
  readonly hostname: string
  readonly port: number
}

/** `[::]:4911`, `127.0.0.1:4911`, `:4911`, or `off`. */
export const listen = (value: string): Result.Result<Listen | "off", string> => {
  if (value === "off") return Result.succeed("off")
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(value)
  const port = Number(match?.[3])
  return match === null || port > 65535
    ? Result.fail("must be ADDRESS:PORT, [ADDRESS]:PORT or 'off'")
    : Result.succeed({ hostname: match[1] ?? (match[2] || "::"), port })
}

/** Comma or space separated. */
export const listOf =
  <A>(one: (value: string) => Result.Result<A, string>) =>
  (value: string): Result.Result<ReadonlyArray<A>, string> => {
    const items = value.split(/[\s,]+/).filter((item) => item !== "")
    const parsed = items.map((item) => Result.mapError(one(item), (problem) => `${item} ${problem}`))
    const wrong = parsed.find(Result.isFailure)
    return wrong === undefined
      ? Result.succeed(parsed.filter(Result.isSuccess).map(({ success }) => success))
      : Result.fail(wrong.failure)
  }

export const address = (value: string): Result.Result<string, string> =>
  isAddress(value) ? Result.succeed(value) : Result.fail("is no IP address")

/** `10.0.0.0/8`, `fd00::/8`, or one address. */
export const network = (value: string): Result.Result<string, string> => {
  const [host = "", prefix, ...rest] = value.split("/")
  const bits = isIpv4(host) ? 32 : isIpv6(host) ? 128 : undefined
  return bits === undefined ||
    rest.length > 0 ||
    (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))
    ? Result.fail("is no network such as 10.0.0.0/8 or fd00::/8")
    : Result.succeed(value)
}

export const domain = (value: string): Result.Result<string, string> =>
  /^\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$/.test(value) ? Result.succeed(value) : Result.fail("is no domain name")

export type Inbound =
  | { readonly protocol: "tcp" | "udp"; readonly port: number }
  | { readonly protocol: "icmp" | "all" }

/** `tcp:8080`, `udp:53`, `icmp`, `all`. */
export const inbound = (value: string): Result.Result<Inbound, string> => {
  if (value === "icmp" || value === "all") return Result.succeed({ protocol: value })
  const match = /^(tcp|udp):(\d{1,5})$/.exec(value)
  const port = Number(match?.[2])
  return match === null || port < 1 || port > 65535
    ? Result.fail("must be tcp:PORT, udp:PORT, icmp or all")
    : Result.succeed({ protocol: match[1] as "tcp" | "udp", port })
}

/** A whole number within bounds, both included. */
export const integer =
  (minimum: number, maximum: number) =>
  (value: string): Result.Result<number, string> =>
    /^\d{1,15}$/.test(value) && Number(value) >= minimum && Number(value) <= maximum
      ? Result.succeed(Number(value))
      : Result.fail(`must be a whole number from ${minimum} to ${maximum}`)
