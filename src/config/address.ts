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

/** The same; an address that has no host bits is given back as it is. */
export const ipv6Network = (address: string, prefix: number): string => {
  const groups = groupsOf(address) ?? []
  const masked = groups.map((group, index) => {
    const hostBits = Math.min(16, Math.max(0, 16 * (index + 1) - prefix))
    return (group >> hostBits) << hostBits
  })
  return masked.every((group, index) => group === groups[index]) ? address : writeGroups(masked)
}

export const isIpv6 = (text: string): boolean => groupsOf(text) !== undefined

export const isAddress = (text: string): boolean => isIpv4(text) || isIpv6(text)

/** RFC 4291 text without a zone; a dotted IPv4 address may stand at the end. */
export const parseIpv6 = (text: string): bigint | undefined =>
  groupsOf(text)?.reduce((address, group) => (address << 16n) + BigInt(group), 0n)

/** RFC 5952: lower case, the longest run of two or more zero groups as `::`. */
export const formatIpv6 = (address: bigint): string =>
  writeGroups(Array.from({ length: 8 }, (_, index) => Number((address >> BigInt(112 - 16 * index)) & 0xffffn)))

/** The text of an address in the form of `formatIpv6`. */
export const canonicalIpv6 = (text: string): string | undefined => {
  const groups = groupsOf(text)
  return groups && writeGroups(groups)
}

/** The eight groups of 16 bits. */
const groupsOf = (text: string): ReadonlyArray<number> | undefined => {
  if (text.length > 45) return undefined
  const groups: Array<number> = []
  // How many groups stand before `::`.
  let gap = text.startsWith("::") ? 0 : undefined
  let group = 0
  let digits = 0
  let start = gap === undefined ? 0 : 2
  for (let index = start; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === colon) {
      if (digits === 0 || index === text.length - 1) return undefined
      groups.push(group)
      group = 0
      digits = 0
      if (text.charCodeAt(index + 1) === colon) {
        if (gap !== undefined) return undefined
        gap = groups.length
        index++
      }
      start = index + 1
    } else if (code === dot) {
      const embedded = parseIpv4(text.slice(start))
      if (embedded === undefined) return undefined
      groups.push(Math.floor(embedded / 65536))
      group = embedded % 65536
      break
    } else {
      const digit = hexDigit(code)
      if (digit === undefined || ++digits > 4) return undefined
      group = group * 16 + digit
    }
  }
  if (digits > 0) groups.push(group)
  if (gap === undefined) return groups.length === 8 ? groups : undefined
  if (groups.length > 7) return undefined
  return [...groups.slice(0, gap), ...new Array<number>(8 - groups.length).fill(0), ...groups.slice(gap)]
}

const hexDigit = (code: number): number | undefined => {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const letter = code | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : undefined
}

const writeGroups = (groups: ReadonlyArray<number>): string => {
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
  let text = ""
  for (let index = 0; index < 8; index++) {
    if (index === start) {
      text += "::"
      index += length - 1
    } else text += `${text === "" || text.endsWith(":") ? "" : ":"}${groups[index]!.toString(16)}`
  }
  return text
}

const colon = 0x3a
const dot = 0x2e
