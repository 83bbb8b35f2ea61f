/** IPv4 and IPv6 addresses as text and as numbers. Addresses that are not well-formed are `undefined`, never an exception. */

export const isIpv4 = (text: string): boolean => parseIpv4(text) !== undefined

/** Four decimal numbers, no leading zeros (which some resolvers read as octal). */
export const parseIpv4 = (text: string): number | undefined => {
  let address = 0
  let dots = 0
  // Undefined between a dot and the first digit after it.
  let part: number | undefined
  for (let index = 0; index < text.length; index++) {
    const digit = text.charCodeAt(index) - 0x30
    if (digit >= 0 && digit <= 9 && part !== 0) {
      part = (part ?? 0) * 10 + digit
      if (part > 255) return undefined
    } else if (digit === -2 && part !== undefined && dots < 3) {
      address = address * 256 + part
      part = undefined
      dots++
    } else return undefined
  }
  return dots === 3 && part !== undefined ? address * 256 + part : undefined
}

export const formatIpv4 = (address: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".")

/** The prefix length of `255.255.255.0`; undefined when the ones are not all in front. */
export const prefixOfNetmask = (netmask: string): number | undefined => {
  const mask = parseIpv4(netmask)
  if (mask === undefined) return undefined
  const prefix = 32 - Math.log2(2 ** 32 - mask)
  return Number.isInteger(prefix) ? prefix : undefined
}

export const netmaskOfPrefix = (prefix: number): string => formatIpv4(2 ** 32 - 2 ** (32 - prefix))

/** The address with its host bits cleared. */
export const ipv4Network = (address: string, prefix: number): string => {
  const size = 2 ** (32 - prefix)
  return formatIpv4(Math.floor((parseIpv4(address) ?? 0) / size) * size)
}

export const ipv6Network = (address: string, prefix: number): string => {
  const hostBits = BigInt(128 - prefix)
  return formatIpv6(((parseIpv6(address) ?? 0n) >> hostBits) << hostBits)
}

/** RFC 4291 text without a zone; a dotted IPv4 address may stand at the end. */
export const parseIpv6 = (text: string): bigint | undefined => {
  if (text.length > 45 || !text.includes(":")) return undefined
  const lastColon = text.lastIndexOf(":")
  const tail = text.slice(lastColon + 1)
  const embedded = tail.includes(".") ? parseIpv4(tail) : undefined
  if (tail.includes(".") && embedded === undefined) return undefined
  const hex =
    embedded === undefined
      ? text
      : `${text.slice(0, lastColon + 1)}${Math.floor(embedded / 65536).toString(16)}:${(embedded % 65536).toString(16)}`
  const halves = hex.split("::")
  if (halves.length > 2) return undefined
  const [front, back] = halves.map((half) => (half === "" ? [] : half.split(":")))
  const count = front!.length + (back?.length ?? 0)
  if (back === undefined ? count !== 8 : count > 7) return undefined
  const groups = [...front!, ...new Array<string>(8 - count).fill("0"), ...(back ?? [])]
  if (!groups.every((group) => /^[0-9A-Fa-f]{1,4}$/.test(group))) return undefined
  return groups.reduce((address, group) => address * 65536n + BigInt(`0x${group}`), 0n)
}

/** RFC 5952: lower case, the longest run of two or more zero groups as `::`. */
export const formatIpv6 = (address: bigint): string => {
  const groups = Array.from({ length: 8 }, (_, index) => Number((address >> BigInt(112 - 16 * index)) & 0xffffn))
  let start = -1
  let length = 1
  for (let index = 0; index < 8; index++) {
    let end = index
    while (end < 8 && groups[end] === 0) end++
    if (end - index > length) {
      start = index
      length = end - index
    }
  }
  const hex = groups.map((group) => group.toString(16))
  return start < 0 ? hex.join(":") : `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`
}
