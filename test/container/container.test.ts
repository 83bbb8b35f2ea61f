/** The image, confined as in a pod, against the real server. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { issue, makeAuthority } from "../../src/injector/x509.ts"
import { asking, reviewOf } from "../injector/cluster.ts"
import { useBench } from "../interop/bench.ts"
import { eventually, succeed } from "../support/child.ts"
import { Client, exitCode } from "../support/culvert.ts"
import { Resolver } from "../support/dnsmasq.ts"
import { outer } from "../support/lab.ts"
import { Leaks } from "../support/leaks.ts"
import { clientConfiguration, type ServerOptions, tunnel } from "../support/openvpn.ts"
import { ping } from "../support/traffic.ts"
import { Container, type ContainerOptions } from "./container.ts"
import { Image, missingTools } from "./image.ts"
import { allowed, becomes, names, preparePod, probe, resolvers, startContainer } from "./podlife.ts"

const missing = await missingTools()
const skipped = missing === undefined ? "" : ` (${missing})`

const nobody = 65534

/** A figure of README.md. */
const stated = (pattern: RegExp): number =>
  Number(pattern.exec(readFileSync(join(import.meta.dir, "../../README.md"), "utf8"))?.[1])

/** ms, with all that HTTP needs. */
async function scrapeCost(client: Client): Promise<number> {
  const seconds = async () => Number(/^process_cpu_seconds_total (\S+)$/m.exec(await client.body("/metrics"))?.[1])
  const before = await seconds()
  await client.body("/metrics?[1-200]")
  return (1000 * ((await seconds()) - before)) / 200
}

describe.skipIf(missing !== undefined)(`the image${skipped}`, () => {
  let image: Image | undefined
  const built = () => image ?? expect.unreachable("the image was not built")
  beforeAll(async () => {
    image = await Image.build()
  }, 360_000)
  afterAll(() => image?.[Symbol.asyncDispose]())

  describe("alone", () => {
    const bench = useBench()

    const culvert = async (
      configuration: string,
      more: Partial<Pick<ContainerOptions, "tun" | "capabilities" | "user">> = {},
    ): Promise<Container> =>
      Container.start(bench.lab, "culvert", {
        root: built().root,
        command: await built().startCommand(),
        network: bench.lab.client,
        capabilities: ["CAP_NET_ADMIN"],
        tun: "device",
        files: { "/etc/culvert/client.ovpn": bench.lab.write("client.ovpn", configuration) },
        ...more,
      })

    test("has three programs, no shell among them, and the size that README states", async () => {
      const files = await built().files()
      const programs = files.map(({ path }) => path).filter((path) => /\/s?bin\//.test(path))
      expect(programs.sort()).toEqual(["/usr/bin/culvert", "/usr/sbin/ip", "/usr/sbin/nft"])
      const megabytes = files.reduce((sum, { size }) => sum + size, 0) / 1e6
      console.log(`image: ${megabytes.toFixed(1)} MB`)
      expect(Math.abs(megabytes - stated(/(\d+) MB, of which/))).toBeLessThan(3)
    })

    test("lists its packages for scanners, each with its licence", async () => {
      const paths = (await built().files()).map(({ path }) => path)
      const packages = paths.flatMap((path) => /^\/var\/lib\/dpkg\/status\.d\/(.+)$/.exec(path)?.[1] ?? [])
      for (const name of ["iproute2", "libc6", "libssl3t64", "nftables"]) expect(packages).toContain(name)
      for (const name of packages) expect(paths).toContain(`/usr/share/doc/${name}/copyright`)
    })

    test("read-only, NET_ADMIN alone, no new privileges: probes, traffic, and SIGTERM ends it with 0", async () => {
      const options: ServerOptions = { push: ["redirect-gateway def1"] }
      await using _server = await bench.serve(options)
      await using container = await culvert(clientConfiguration(bench.lab, options))
      const client = Client.watch(bench.lab, container.child)
      await client.ready()
      await bench.carriesTraffic()
      for (const probe of ["/startupz", "/livez", "/readyz"]) expect(await client.probe(probe)).toBe(200)
      expect(await container.exec(["/usr/bin/culvert", "health"])).toMatchObject({ code: 0 })

      const process = readFileSync(`/proc/${await container.pid()}/status`, "utf8")
      expect(process).toMatch(/^CapEff:\s+0000000000001000$/m)
      expect(process).toMatch(/^CapBnd:\s+0000000000001000$/m)
      expect(process).toMatch(/^NoNewPrivs:\s+1$/m)
      const resident = Number(/^VmRSS:\s+(\d+) kB/m.exec(process)?.[1]) / 1024
      console.log(`resident memory, connected: ${resident.toFixed(0)} MiB`)
      expect(resident).toBeLessThan(1.2 * stated(/(\d+) MiB resident/))
      console.log(`a scrape: ${(await scrapeCost(client)).toFixed(2)} ms of processor time`)

      expect((await client.stop()).code).toBe(exitCode.stopped)
    })

    test("with /dev/net/tun mounted from the machine", async () => {
      await using _server = await bench.serve()
      await using container = await culvert(clientConfiguration(bench.lab, {}), { tun: { mount: "/dev/net/tun" } })
      await Client.watch(bench.lab, container.child).ready()
      await bench.carriesTraffic()
    })

    test("with a device that exists already: another user than root, without any capability", async () => {
      const { client: pod } = bench.lab
      // The table of the container before stays in the pod, and this one may not change it.
      await pod.succeed("nft flush ruleset".split(" "))
      await pod.succeed(`ip tuntap add mode tun user ${nobody} name tun9`.split(" "))
      try {
        await using _server = await bench.serve()
        const configuration = clientConfiguration(bench.lab, {}, { device: "tun9" })
        await using container = await culvert(configuration, { capabilities: [], user: nobody })
        await Client.watch(bench.lab, container.child).event("connected")
        expect(readFileSync(`/proc/${await container.pid()}/status`, "utf8")).toMatch(/^Uid:\s+65534\b/m)
        for (const line of ["link set tun9 up", "address add 10.66.0.2/24 dev tun9"]) {
          await pod.succeed(["ip", ...line.split(" ")])
        }
        await ping(pod, tunnel.ipv4)
      } finally {
        await pod.succeed("ip tuntap delete mode tun name tun9".split(" "))
      }
    })

    test("without the device it says how to give it, status 71", async () => {
      await using container = await culvert(clientConfiguration(bench.lab, {}), { tun: "none" })
      expect(await container.child.exited()).toBe(exitCode.hostRefused)
      expect(container.child.output).toContain("device plugin")
    })
  })

  describe("as the webhook", () => {
    const bench = useBench()

    test("another user, without any right: it answers a review over TLS, is probed, and ends with 0", async () => {
      const { lab } = bench
      const name = "culvert-injector.culvert-system.svc"
      const day = { from: Date.now() - 60_000, to: Date.now() + 86_400_000 }
      const authority = makeAuthority("test", day)
      const leaf = issue(authority, [name], day)
      const places = ["--tls-certificate", "/tls/tls.crt", "--tls-key", "/tls/tls.key"]
      await using container = Container.start(lab, "webhook", {
        root: built().root,
        command: [...(await built().startCommand()).slice(0, -1), "inject", "--image", "culvert:1", ...places],
        network: lab.client,
        capabilities: [],
        user: 65532,
        tun: "none",
        files: {
          "/tls/tls.crt": lab.write("tls.crt", leaf.certificate, 0o644),
          "/tls/tls.key": lab.write("tls.key", leaf.key, 0o644),
        },
        environment: { CULVERT_DRAIN_SECONDS: "0" },
      })
      await container.child.line(/"event":"starting"/)
      const review = lab.write("review.json", JSON.stringify(reviewOf(asking())))
      const trust = ["--cacert", lab.write("ca.crt", authority.certificate), "--resolve", `${name}:8443:127.0.0.1`]
      const asked = ["--json", `@${review}`, `https://${name}:8443/mutate`]
      const { response } = JSON.parse(await lab.client.succeed(["curl", "--silent", ...trust, ...asked]))
      expect(response).toMatchObject({ allowed: true, patchType: "JSONPatch" })
      const ready = await lab.client.succeed(["curl", "--silent", "--fail", "http://127.0.0.1:8080/readyz"])
      expect(ready).toContain("valid until")
      expect(await container.child.stop()).toBe(exitCode.stopped)
    })
  })

  const mayUnshare = Bun.spawnSync(["unshare", "--user", "true"]).exitCode === 0
  describe.skipIf(!mayUnshare)("in a user namespace (if the kernel allows one)", () => {
    const bench = useBench()

    test("root that is nobody on the machine: connects, with kill switch, and carries traffic", async () => {
      const { lab } = bench
      await using _server = await bench.serve()
      mkdirSync(join(lab.directory, "culvert"))
      lab.write("culvert/client.ovpn", clientConfiguration(lab, {}))
      const device = join(lab.directory, "tun")
      // As on a node, where everybody may open it.
      await succeed(["mknod", "-m", "666", device, "c", "10", "200"])
      await using container = Container.start(lab, "culvert", {
        root: built().root,
        command: await built().startCommand(),
        network: "own",
        capabilities: ["CAP_NET_ADMIN"],
        tun: { mount: device },
        files: { "/etc/culvert": join(lab.directory, "culvert") },
      })
      await container.child.line(/"event":"kill_switch_on"/)
      await container.child.line(/"event":"connected"/)
      await eventually(10_000, "ready", async () => (await container.exec(["/usr/bin/culvert", "health"])).code === 0)
      const pid = await container.pid()
      expect(readFileSync(`/proc/${pid}/status`, "utf8")).toMatch(/^Uid:\s+200000\b/m)
      await succeed(["nsenter", "-t", String(pid), "-n", "ping", "-n", "-c", "1", "-W", "2", tunnel.ipv4])
      expect(await container.child.stop()).toBe(exitCode.stopped)
    })
  })

  describe("in a pod, beside an application", () => {
    const bench = useBench({ pod: true })
    let resolving: ReadonlyArray<Resolver> = []
    beforeAll(async () => {
      const { lab } = bench
      await preparePod(lab)
      resolving = await Promise.all([
        Resolver.start(lab, lab.node, [resolvers.cluster], { [names.vpn]: outer.server.ipv4 }),
        Resolver.start(lab, lab.server, [resolvers.vpn], { [names.service]: tunnel.ipv4 }),
      ])
    })
    afterAll(() => Promise.all(resolving.map((resolver) => resolver[Symbol.asyncDispose]())))

    const startSidecar = async (options: ServerOptions) => {
      const { lab } = bench
      const configuration = lab.write("client.ovpn", clientConfiguration(lab, options, { host: names.vpn }))
      const files = { "/etc/culvert/client.ovpn": configuration }
      return startContainer(lab, built(), "sidecar", await built().startCommand(), files, true)
    }
    const startApplication = () => {
      const files = { "/application.ts": join(import.meta.dir, "application.ts") }
      // The executable has a whole Bun in it, which runs another program when it is told to.
      const command = ["/usr/bin/culvert", "/application.ts", `http://${names.service}:8080/bytes/1000`]
      return startContainer(bench.lab, built(), "application", command, files, false)
    }
    const options: ServerOptions = { push: ["redirect-gateway def1", `dhcp-option DNS ${resolvers.vpn}`] }

    test("the sidecar first, the application after it; by name through the tunnel; probed; stopped in reverse; no leak", async () => {
      const { lab } = bench
      await using leaks = await Leaks.watch(lab, [1194], allowed)
      await using sidecar = await startSidecar(options)
      await becomes(lab, 4911, "/livez", 200)
      expect(await probe(lab, 4911, "/startupz")).toBe(503)
      await using server = await bench.serve(options)
      await becomes(lab, 4911, "/startupz", 200)

      await using application = startApplication()
      await becomes(lab, 8081, "/", 200)
      await application.child.line(/: 1000 bytes as 10\.66\.0\./)
      expect(await probe(lab, 4911, "/readyz")).toBe(200)
      expect(application.child.output).not.toContain("failed")

      // While the server is away the application gets nothing, and nothing gets out.
      await server.kill()
      await application.child.line(/failed/)
      await becomes(lab, 4911, "/livez", 200)

      expect(await application.child.stop()).toBe(0)
      expect(application.child.output).toContain("asked to stop")
      expect(sidecar.child.running).toBe(true)
      expect(await sidecar.child.stop()).toBe(exitCode.stopped)
      expect(leaks.since(0)).toEqual([])
    }, 60_000)

    test("a Job: killed and started anew the sidecar takes over, and ends with 0 after the application, whose status stays; no leak", async () => {
      const { lab } = bench
      await using leaks = await Leaks.watch(lab, [1194], allowed)
      await using _server = await bench.serve(options)
      const answers = /: 1000 bytes as 10\.66\.0\./
      {
        await using killed = await startSidecar(options)
        await becomes(lab, 4911, "/startupz", 200)
        await using application = startApplication()
        await application.child.line(answers)

        // As when the kernel runs out of memory: the application goes on, and nothing of it gets out.
        process.kill(await killed.pid(), "SIGKILL")
        await killed.child.exited()
        await application.child.line(/failed/)
        const since = application.child.lines.length
        await using sidecar = await startSidecar(options)
        await application.child.line(answers, 20_000, since)

        expect(await probe(lab, 8081, "/finish")).toBe(200)
        expect(await application.child.exited()).toBe(3)
        expect(sidecar.child.running).toBe(true)
        expect(await sidecar.child.stop()).toBe(exitCode.stopped)
      }
      expect(leaks.since(0)).toEqual([])
    }, 60_000)
  })
})
