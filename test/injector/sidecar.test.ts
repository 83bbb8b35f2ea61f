/** What injection writes into a pod is what the sidecar itself reads. */
import { expect, test } from "bun:test"
import { Result } from "effect"
import { volumeNames } from "../../src/injector/sidecar.ts"
import { readSettings, table } from "../../src/sidecar/settings.ts"
import { admitted, asking } from "./cluster.ts"

const said = {
  "culvert.dev/config": "vpn",
  "culvert.dev/secret": "login",
  "culvert.dev/bypass": "192.0.2.0/24 fd00::/8",
  "culvert.dev/inbound": "tcp:8080,icmp",
  "culvert.dev/dns": "10.8.0.1",
  "culvert.dev/dns-mode": "off",
  "culvert.dev/cluster-domains": "corp.example",
  "culvert.dev/log-level": "debug",
  "culvert.dev/ready-check": "tcp:intranet.corp.example:443",
}
const [container] = admitted(asking({}, said)).spec.initContainers!
const environment = Object.fromEntries(
  (container!.env as ReadonlyArray<{ readonly name: string; readonly value: string }>).map(({ name, value }) => [
    name,
    value,
  ]),
)

test("every variable is a setting of the sidecar, and its value one that the sidecar takes", () => {
  const variables = Object.values(table).map(({ variable }) => variable)
  for (const name of Object.keys(environment)) expect(variables).toContain(name)
  expect(Result.getOrThrow(readSettings({}, environment))).toMatchObject({
    killSwitch: "on",
    bypass: ["10.244.0.0/16", "10.96.0.0/12", "192.0.2.0/24", "fd00::/8"],
    inbound: [{ protocol: "tcp", port: 8080 }, { protocol: "icmp" }],
    dns: ["10.8.0.1"],
    dnsMode: "off",
    clusterDomains: ["corp.example"],
    logLevel: "debug",
  })
})

test("volumes are mounted where the sidecar looks, and its probes are asked where it answers", () => {
  const settings = Result.getOrThrow(readSettings({}, {}))
  const mounts = container!.volumeMounts as ReadonlyArray<{ readonly name: string; readonly mountPath: string }>
  const at = (name: string) => mounts.find((mount) => mount.name === name)!.mountPath
  expect(settings.config).toBe(`${at(volumeNames.config)}/client.ovpn`)
  expect(settings.credentials).toBe(at(volumeNames.credentials))
  expect(settings.http).toMatchObject({ hostname: "::", port: 4911 })
  expect(container!.ports).toMatchObject([{ containerPort: 4911 }])
})
