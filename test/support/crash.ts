/**
 * Preloaded into a client under test: SIGUSR2 makes the next command to the data-plane worker one that it cannot carry out, a
 * broken invariant, so that it crashes in the middle of its work.
 */
import { isMainThread } from "node:worker_threads"

if (isMainThread) {
  let isArmed = false
  process.on("SIGUSR2", () => {
    isArmed = true
  })
  const post = Worker.prototype.postMessage
  Worker.prototype.postMessage = function (this: Worker, message: { readonly type?: string }, ...rest: []) {
    const isCommand = typeof message.type === "string" && message.type !== "stop"
    const sent = isArmed && isCommand ? { ...message, type: "installKey", key: undefined } : message
    if (sent !== message) isArmed = false
    return post.call(this, sent, ...rest)
  }
}
