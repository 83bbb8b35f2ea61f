/** Packets by what keeps them in order, and the first of a flow that is not what it should be. */
import { TCP, UDP } from "../../../src/dataplane/vnet.ts"

/** What is wrong with `got`, which is to be `expected`: each flow by itself, as packets of different flows may overtake each other. */
export function difference(got: ReadonlyArray<Uint8Array>, expected: ReadonlyArray<Uint8Array>): string | undefined {
  const [gotFlows, flows] = [Map.groupBy(got, flowOf), Map.groupBy(expected, flowOf)]
  for (const flow of gotFlows.keys()) if (!flows.has(flow)) return `flow ${flow} was never sent`
  for (const [flow, packets] of flows) {
    const what = orderedDifference(gotFlows.get(flow) ?? [], packets)
    if (what !== undefined) return `flow ${flow}, ${what}`
  }
  return undefined
}

/** The same, all of them in order. */
export function orderedDifference(
  got: ReadonlyArray<Uint8Array>,
  expected: ReadonlyArray<Uint8Array>,
): string | undefined {
  const at = expected.findIndex((packet, index) => got[index] === undefined || Buffer.compare(packet, got[index]) !== 0)
  if (at >= 0) return `packet ${at} of ${expected.length}: ${got[at]?.toHex()} where ${expected[at]!.toHex()} was sent`
  return got.length > expected.length ? `${got.length} packets where ${expected.length} were sent` : undefined
}

/** Addresses, protocol and ports; all that has no ports where they usually are is one flow. */
function flowOf(packet: Uint8Array): string {
  const isIpv6 = packet[0]! >> 4 === 6
  const transport = isIpv6 ? 40 : (packet[0]! & 15) * 4
  const protocol = packet[isIpv6 ? 6 : 9]!
  const isFragment = !isIpv6 && (((packet[6]! << 8) | packet[7]!) & 0x3fff) !== 0
  if (isFragment || (protocol !== TCP && protocol !== UDP)) return "other"
  return `${protocol} ${packet.subarray(isIpv6 ? 8 : 12, transport).toHex()} ${packet.subarray(transport, transport + 4).toHex()}`
}
