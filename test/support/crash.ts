/**
 * Preloaded into a client under test: SIGUSR2 makes the part that `CRASH` names crash in the middle of its work; that is the
 * name of a part, or the path of a file with it.
 *
 * `worker`: the next command to the data plane is one that it cannot carry out, a broken invariant. `http`: the socket of the
 * HTTP server is gone; `control`: that of the control server. `dns`: the socket that queries come to has an error.
 */
import { Socket } from "node:dgram"
import { readFileSync } from "node:fs"
import { isMainThread } from "node:worker_threads"

if (isMainThread) {
  const named = process.env.CRASH ?? "worker"
  const crashes = { worker: crashWorker(), dns: crashForwarder(), ...crashServers() }
  process.on("SIGUSR2", () => {
    const part = named.startsWith("/") ? readFileSync(named, "utf8") : named
    crashes[part as keyof typeof crashes]()
  })
}

function crashWorker() {
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
}

function crashServers() {
  const servers = new Map<number | undefined, { stop(force: boolean): unknown }>()
  const { serve } = Bun
  Bun.serve = ((options: Parameters<typeof serve>[0]) => {
    const server = serve(options)
    servers.set(server.port, server)
    return server
  }) as typeof serve
  return { http: () => servers.get(4911)?.stop(true), control: () => servers.get(4912)?.stop(true) }
}

function crashForwarder() {
  let forwarder: Socket | undefined
  const { bind } = Socket.prototype
  Socket.prototype.bind = function (this: Socket, ...parameters: Array<unknown>) {
    if (parameters[1] === "127.0.0.1") forwarder = this
    return Reflect.apply(bind, this, parameters)
  } as typeof bind
  return () => forwarder?.emit("error", new Error("induced"))
}
