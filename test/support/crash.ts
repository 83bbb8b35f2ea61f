/**
 * Preloaded into a client under test: SIGUSR2 makes the part that `CRASH` names crash in the middle of its work.
 *
 * `worker`: the next command to the data plane is one that it cannot carry out, a broken invariant. `http`: the socket of the
 * HTTP server is gone. `dns`: the socket that queries come to has an error.
 */
import { Socket } from "node:dgram"
import { isMainThread } from "node:worker_threads"

const crashes = {
  worker: () => {
    let isArmed = false
    const post = Worker.prototype.postMessage
    Worker.prototype.postMessage = function (this: Worker, message: { readonly type?: string }, ...rest: []) {
      const isCommand = typeof message.type === "string" && message.type !== "stop"
      const sent = isArmed && isCommand ? { ...message, type: "installKey", key: undefined } : message
      if (sent !== message) isArmed = false
      return post.call(this, sent, ...rest)
    }
    return () => {
      isArmed = true
    }
  },
  http: () => {
    let server: { stop(force: boolean): unknown } | undefined
    const { serve } = Bun
    Bun.serve = ((options: Parameters<typeof serve>[0]) => {
      server = serve(options)
      return server
    }) as typeof serve
    return () => server?.stop(true)
  },
  dns: () => {
    let forwarder: Socket | undefined
    const { bind } = Socket.prototype
    Socket.prototype.bind = function (this: Socket, ...parameters: Array<unknown>) {
      if (parameters[1] === "127.0.0.1") forwarder = this
      return Reflect.apply(bind, this, parameters)
    } as typeof bind
    return () => forwarder?.emit("error", new Error("induced"))
  },
} as const

if (isMainThread) process.on("SIGUSR2", crashes[(process.env.CRASH ?? "worker") as keyof typeof crashes]())
