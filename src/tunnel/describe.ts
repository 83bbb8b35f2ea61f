/** What a server is called in messages and in the status. */
import type { Remote } from "../config/index.ts"
import type { Opened } from "./establish.ts"
import { firstHop } from "./proxy.ts"
import type { Address } from "./resolve.ts"

export interface Described {
  readonly remote: Remote
  readonly address: Address
  /** Where it is not the file's. */
  readonly port?: number
}

/** Where a connection leads at present: a server may have moved. */
export const endOf = ({ remote, address, peer }: Opened): Described =>
  remote.proxy === undefined ? { remote, ...peer.current } : { remote, address }

/** As in `udp://192.0.2.1:1194`. */
export const describe = ({ remote, address: { address, family }, port = firstHop(remote).port }: Described): string => {
  const hop = `${family === "ipv6" ? `[${address}]` : address}:${port}`
  return remote.proxy === undefined
    ? `${remote.transport}://${hop}`
    : `${remote.transport}://${remote.host}:${remote.port} through the proxy ${hop}`
}

/** With the name that the address was found by. */
export const describeFully = (server: Described): string => {
  const { host } = firstHop(server.remote)
  return host === server.address.address ? describe(server) : `${describe(server)} (${host})`
}
