/** The lab of a test file: made before its first test, removed after its last. */
import { afterAll, beforeAll, test } from "bun:test"
import { Client, type ClientOptions, subject } from "../support/culvert.ts"
import { Lab, type LabOptions } from "../support/lab.ts"
import {
  type ClientConfigurationOptions,
  clientConfiguration,
  OpenVpnServer,
  type ServerOptions,
  tunnel,
} from "../support/openvpn.ts"
import { download, ping, WebServer } from "../support/traffic.ts"

/** For what only Culvert can show: probes, exit codes, log events. */
export const testCulvert = test.skipIf(subject !== "culvert")

export interface Bench {
  readonly lab: Lab
  serve(options?: ServerOptions): Promise<OpenVpnServer>
  connect(server: ServerOptions, options?: ClientConfigurationOptions, run?: ClientOptions): Client
  /** Ping over both families and a download, all through the tunnel. */
  carriesTraffic(): Promise<void>
}

export function useBench(options: LabOptions = {}): Bench {
  let lab: Lab | undefined
  let web: WebServer | undefined
  beforeAll(async () => {
    lab = await Lab.make(options)
    web = await WebServer.start(lab)
  })
  afterAll(async () => {
    await web?.[Symbol.asyncDispose]()
    await lab?.[Symbol.asyncDispose]()
  })
  const made = () => {
    if (lab === undefined) throw new Error("the lab could not be made")
    return lab
  }
  return {
    get lab() {
      return made()
    },
    serve: (server) => OpenVpnServer.start(made(), server),
    connect: (server, client, run) => Client.start(made(), clientConfiguration(made(), server, client), run),
    async carriesTraffic() {
      const { client } = made()
      await ping(client, tunnel.ipv4)
      await ping(client, tunnel.ipv6)
      const seen = await download(client, tunnel.ipv4, 1_000_000)
      if (!seen.startsWith(tunnelPrefix)) throw new Error(`the download came from ${seen}, not from the tunnel`)
    },
  }
}

const tunnelPrefix = "10.66.0."
