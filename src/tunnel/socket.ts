/** The sockets of a link, opened here and handed to the worker. */
import { Data, Effect } from "effect"
import type { Profile, Remote } from "../config/index.ts"
import {
  closeFd,
  openStraySocket,
  openTcpSocket,
  openUdpSocket,
  type SocketOptions,
  SystemError,
} from "../linux/index.ts"

/** Where a transport leads to: one resolved address. */
export interface Endpoint {
  readonly transport: "udp" | "tcp"
  readonly address: string
  readonly family: "ipv4" | "ipv6"
  readonly port: number
  readonly local: Remote["local"]
  readonly socket: Profile["socket"]
  /** UDP: what comes to our port from others is taken as well, if it proves to be the server's; undefined: not at all. */
  readonly strays?: { readonly hasControlKey: boolean } | undefined
  /** UDP through a proxy: what stands in front of each datagram, and what fails when the proxy takes no more of them. */
  readonly relay?: { readonly header: Uint8Array; readonly ended: Effect.Effect<never, TransportError> }
}

export class TransportError extends Data.TaggedError("TransportError")<{ readonly message: string }> {}

/** A socket on its way there; the descriptor is the caller's. */
export const dial = (endpoint: Endpoint) => Effect.try({ try: () => openSocket(endpoint), catch: refused })

/** With the port of `fd`, if the endpoint has one for strangers; `fd` is closed when that fails. */
export const openStrays = (fd: number, endpoint: Endpoint) => {
  const { strays } = endpoint
  if (strays === undefined) return Effect.succeed(undefined)
  return Effect.try({
    try: () => ({ ...strays, fd: openStraySocket(fd, optionsOf(endpoint)) }),
    catch: (error) => {
      closeFd(fd)
      return refused(error)
    },
  })
}

const refused = (error: unknown) =>
  new TransportError({ message: error instanceof SystemError ? error.message : String(error) })

const openSocket = (endpoint: Endpoint): number =>
  endpoint.transport === "udp" ? openUdpSocket(optionsOf(endpoint)) : openTcpSocket(optionsOf(endpoint))

const optionsOf = (endpoint: Endpoint): SocketOptions => {
  const { sendBuffer, receiveBuffer, mark, bindDevice } = endpoint.socket
  return {
    address: endpoint.address,
    port: endpoint.port,
    family: endpoint.family === "ipv4" ? (4 as const) : (6 as const),
    ...(endpoint.local === undefined
      ? {}
      : {
          local: {
            ...(endpoint.local.address === undefined ? {} : { address: endpoint.local.address }),
            ...(endpoint.local.port === undefined ? {} : { port: endpoint.local.port }),
          },
        }),
    ...(sendBuffer === undefined ? {} : { sendBuffer }),
    ...(receiveBuffer === undefined ? {} : { receiveBuffer }),
    ...(mark === undefined ? {} : { mark }),
    ...(bindDevice === undefined ? {} : { bindDevice }),
    sharesPort: endpoint.strays !== undefined,
  }
}
