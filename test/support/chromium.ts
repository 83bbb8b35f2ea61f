/** A real browser without a window, driven over its DevTools protocol. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Child, eventually, Hopeless } from "./child.ts"
import { installPackages } from "./packages.ts"

/** Installs Chromium when it is missing; undefined when it cannot be had. */
export async function findChromium(): Promise<string | undefined> {
  const find = () => Bun.which("chromium") ?? Bun.which("chromium-browser") ?? Bun.which("google-chrome")
  const found = find()
  if (found !== null) return found
  await installPackages("chromium", "fonts-dejavu-core")
  return find() ?? undefined
}

export interface View {
  readonly width: number
  readonly height: number
  readonly scheme: "light" | "dark"
}

export class Browser implements AsyncDisposable {
  /** Every address the pages asked for, and what they complained about. */
  readonly requests: Array<string> = []
  readonly complaints: Array<string> = []
  readonly #child: Child
  readonly #directory: string
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>()
  #serial = 0

  private constructor(child: Child, directory: string, socket: WebSocket) {
    this.#child = child
    this.#directory = directory
    this.#socket = socket
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(String(data)))
  }

  static async open(program: string): Promise<Browser> {
    const directory = mkdtempSync(join(tmpdir(), `cv${process.pid}-`))
    const parameters = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    const quiet = [
      "--disable-background-networking",
      "--disable-component-update",
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    const places = ["--remote-debugging-port=0", `--user-data-dir=${directory}`, "about:blank"]
    // What it leaves in TMPDIR goes with the directory.
    const child = new Child("chromium", [program, ...parameters, ...quiet, ...places], {
      environment: { TMPDIR: directory },
    })
    try {
      const browser = new Browser(child, directory, await connect(child, directory))
      for (const domain of ["Page", "Network", "Runtime", "Log"]) await browser.call(`${domain}.enable`)
      // They would be in the screenshots.
      await browser.call("Emulation.setScrollbarsHidden", { hidden: true })
      return browser
    } catch (error) {
      await end(child, directory)
      throw error
    }
  }

  async look(view: View): Promise<void> {
    await this.call("Emulation.setDeviceMetricsOverride", {
      width: view.width,
      height: view.height,
      deviceScaleFactor: 1,
      mobile: view.width < 600,
    })
    await this.call("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: view.scheme }],
    })
  }

  visit(url: string): Promise<unknown> {
    return this.call("Page.navigate", { url })
  }

  async evaluate<A>(expression: string): Promise<A> {
    const { result } = await this.call<{ readonly result: { readonly value: A } }>("Runtime.evaluate", {
      expression,
      returnByValue: true,
    })
    return result.value
  }

  /** The whole page, as PNG. */
  async screenshot(): Promise<Uint8Array> {
    const { data } = await this.call<{ readonly data: string }>("Page.captureScreenshot", {
      captureBeyondViewport: true,
    })
    return Buffer.from(data, "base64")
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close()
    await end(this.#child, this.#directory)
  }

  call<A = unknown>(method: string, params: object = {}): Promise<A> {
    const id = ++this.#serial
    this.#socket.send(JSON.stringify({ id, method, params }))
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve: resolve as never, reject }))
  }

  #receive(message: Message): void {
    if (message.id !== undefined) {
      const waiting = this.#waiting.get(message.id)
      this.#waiting.delete(message.id)
      if (message.error !== undefined) waiting?.reject(new Error(message.error.message))
      else waiting?.resolve(message.result as never)
    } else if (message.method === "Network.requestWillBeSent") {
      this.requests.push(message.params.request!.url)
    } else if (message.method === "Runtime.exceptionThrown" || message.method === "Log.entryAdded") {
      this.complaints.push(JSON.stringify(message.params))
    }
  }
}

/** The socket of its only page. The file with the port is there before anybody listens on it. */
async function connect(child: Child, directory: string): Promise<WebSocket> {
  const page = await eventually(20_000, "chromium has a page", async () => {
    if (!child.running) throw new Hopeless(child.tail())
    const port = readFileSync(join(directory, "DevToolsActivePort"), "utf8").split("\n")[0]
    const pages = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as ReadonlyArray<{
      readonly type: string
      readonly webSocketDebuggerUrl: string
    }>
    return pages.find(({ type }) => type === "page")
  })
  const socket = new WebSocket(page.webSocketDebuggerUrl)
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = reject
  })
  return socket
}

/** Its helpers outlive it for a moment, and may write there still. */
async function end(child: Child, directory: string): Promise<void> {
  await child.stop("SIGKILL")
  await eventually(5_000, `${directory} is removed`, () => {
    rmSync(directory, { recursive: true, force: true })
    return true
  })
}

interface Message {
  readonly id?: number
  readonly result?: unknown
  readonly error?: { readonly message: string }
  readonly method?: string
  readonly params: { readonly request?: { readonly url: string } }
}
