/** Networks as numbers, to compare them. Text that is no network is `undefined`, never an exception. */
import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from "../config/address.ts"

export interface Cidr {
  readonly family: "ipv4" | "ipv6"
  readonly first: bigint
  readonly prefix: number
}

/** `10.0.0.0/8`, `fd00::/8`, or one address. Host bits are cleared. */
export const parseCidr = (text: string): Cidr | undefined => {
  const [address = "", length] = text.split("/")
  const ipv6 = address.includes(":")
  const value = ipv6 ? parseIpv6(address) : parseIpv4(address)
  const bits = ipv6 ? 128 : 32
  const prefix = length === undefined ? bits : Number(length)
  if (value === undefined || !Number.isInteger(prefix) || prefix < 0 || prefix > bits) return undefined
  const host = BigInt(bits - prefix)
  return { family: ipv6 ? "ipv6" : "ipv4", first: (BigInt(value) >> host) << host, prefix }
}

export const formatCidr = ({ family, first, prefix }: Cidr): string =>
  `${family === "ipv6" ? formatIpv6(first) : formatIpv4(Number(first))}/${prefix}`

/** Whether every address of `inner` is in `outer`. */
export const contains = (outer: Cidr, inner: Cidr): boolean => {
  if (outer.family !== inner.family || outer.prefix > inner.prefix) return false
  const host = BigInt((outer.family === "ipv6" ? 128 : 32) - outer.prefix)
  return outer.first >> host === inner.first >> host
}

export const overlaps = (a: Cidr, b: Cidr): boolean => contains(a, b) || contains(b, a)

/** `contains` on texts; false for what is no network. */
export const covers = (outer: string, inner: string): boolean => {
  const [a, b] = [parseCidr(outer), parseCidr(inner)]
  return a !== undefined && b !== undefined && contains(a, b)
}

/** Both halves of a network; a single address has none. */
export const halves = (text: string): ReadonlyArray<string> => {
  const whole = parseCidr(text)
  const bits = whole?.family === "ipv6" ? 128 : 32
  if (whole === undefined || whole.prefix >= bits) return []
  const half = { ...whole, prefix: whole.prefix + 1 }
  return [half, { ...half, first: half.first + (1n << BigInt(bits - half.prefix)) }].map(formatCidr)
}
