/** Questions over HTTPS (RFC 8484) with HTTP/2, one session for each server, kept while it is used. */
import type { ClientHttp2Session } from "node:http2"
import { Effect, Result } from "effect"
import { answers, type Query, withId } from "../../network/dns/index.ts"
import type { Upstream } from "../../network/index.ts"
import { certificateCheck, NoAnswer } from "./question.ts"

export class Https {
  readonly #open = new Map<string, ClientHttp2Session>()

  ask(bytes: Uint8Array, query: Query, server: Upstream): Effect.Effect<Uint8Array, NoAnswer> {
    return Effect.callback((resume) => {
      const failed = (reason: string) => resume(Effect.fail(new NoAnswer({ reason })))
      const session = this.#session(server)
      const headers = {
        ":method": "POST",
        ":path": "/dns-query",
        ":authority": server.serverName ?? authorityOf(server),
        accept: messageType,
        "content-type": messageType,
        "content-length": String(bytes.length),
      }
      // It throws where the session has ended in this very moment.
      const opened = Result.try(() => session.request(headers))
      if (Result.isFailure(opened)) return failed(String(opened.failure))
      const request = opened.success
      let heard = false
      const chunks: Array<Buffer> = []
      let size = 0
      let status: unknown
      request.on("response", (headers) => {
        status = headers[":status"]
        heard = true
      })
      request.on("data", (chunk: Buffer) => {
        size += chunk.length
        if (size <= largestMessage) chunks.push(chunk)
        else request.close()
      })
      request.on("error", (error) => failed(error.message))
      request.on("end", () => {
        const message = Uint8Array.from(Buffer.concat(chunks))
        if (status !== 200) failed(`HTTP status ${status}`)
        else if (answers(message, query, 0)) resume(Effect.succeed(withId(message, query.id)))
        else failed("the answer is to another question")
      })
      // The id is 0 over HTTPS (RFC 8484 section 4.1).
      request.end(Buffer.from(withId(bytes, 0)))
      return Effect.sync(() => {
        request.close()
        // Nobody may be at the other end any more, as after the tunnel came back with another address.
        if (!heard) session.destroy()
      })
    })
  }

  close(): void {
    for (const session of this.#open.values()) session.destroy()
  }

  #session(server: Upstream): ClientHttp2Session {
    const key = `${server.address} ${server.port} ${server.serverName}`
    const known = this.#open.get(key)
    if (known !== undefined && !known.closed && !known.destroyed) return known
    // Loaded only when it is used: the module takes a start 7 ms, and few servers are asked over HTTPS.
    const { connect } = process.getBuiltinModule("node:http2")
    const session = connect(`https://${authorityOf(server)}`, certificateCheck(server))
    const forget = () => {
      if (this.#open.get(key) === session) this.#open.delete(key)
    }
    // Its questions hear of it themselves.
    session.on("error", forget)
    session.on("goaway", forget)
    session.on("close", forget)
    session.setTimeout(idleLimit, () => session.destroy())
    this.#open.set(key, session)
    return session
  }
}

const authorityOf = ({ address, port }: Upstream): string =>
  `${address.includes(":") ? `[${address}]` : address}:${port}`

const messageType = "application/dns-message"
const largestMessage = 65_535
/** ms */
const idleLimit = 10_000
