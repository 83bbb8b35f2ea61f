/**
 * The worker's thread. It takes as long to start as the program on the main thread, so one is started ahead, as the first
 * thing of all; it waits for its first message.
 */

/** Starts the thread that the next `takeThread` gives. It does not keep the process alive. */
export function prepareThread(): void {
  const thread = newThread()
  thread.unref()
  thread.addEventListener("close", () => {
    if (prepared === thread) prepared = undefined
  })
  prepared = thread
}

/** The prepared thread, or a new one. */
export function takeThread(): Worker {
  const thread = prepared ?? newThread()
  prepared = undefined
  thread.ref()
  return thread
}

let prepared: Worker | undefined

/** `worker.ts` beside this file, or in a bundle the second entry, which has its folder's name still. */
function newThread(): Worker {
  const name = import.meta.url.endsWith(".ts") ? "./worker.ts" : "./dataplane/worker.js"
  return new Worker(new URL(name, import.meta.url).href)
}
