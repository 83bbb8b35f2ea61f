/** Point to point: `tls-client` without `pull`, against one `openvpn` with `tls-server` that pushes nothing. */
import { expect, test } from "bun:test"
import { Client } from "../support/culvert.ts"
import { outer } from "../support/lab.ts"
import { download, ping } from "../support/traffic.ts"
import { useBench } from "./bench.ts"

const bench = useBench()

const cells = [
  ["negotiated, AEAD", [], ["data-ciphers AES-256-GCM:AES-128-CBC"], "AES-256-GCM"],
  [
    "negotiated, CBC",
    ["data-ciphers AES-128-CBC", "auth SHA256"],
    ["data-ciphers AES-128-CBC", "auth SHA256"],
    "AES-128-CBC",
  ],
  [
    "with renegotiations, over TCP",
    ["proto tcp4-server"],
    ["proto tcp4-client", "reneg-sec 2", "hand-window 2"],
    "AES-256-GCM",
  ],
] as const

test.each([...cells])("%s", async (_name, theirs, ours, cipher) => {
  const { lab } = bench
  const { authority, server, client: own, ca } = lab.pki
  const configuration = [
    ...["dev tun", "tls-server", "dh none", "ifconfig 10.66.0.1 10.66.0.2", "proto udp4", "verb 4", "keepalive 1 10"],
    ...[`ca ${authority.certificateFile}`, `cert ${server.certificateFile}`, `key ${server.keyFile}`, ...theirs],
  ]
  const file = lab.write("p2p.conf", configuration.join("\n"))
  await using peer = lab.server.start("openvpn peer", ["openvpn", "--config", file])
  await peer.line(/link local \(bound\)|Listening for incoming TCP/)
  const lines = [
    ...["dev tun", "tls-client", "proto udp4", `remote ${outer.server.ipv4} 1194`, "remote-cert-tls server"],
    ...["ifconfig 10.66.0.2 10.66.0.1", "ping 1", "ping-restart 10", ...ours],
    ...["<ca>", ca.trim(), "</ca>", `cert ${own.certificateFile}`, `key ${own.keyFile}`, ""],
  ]
  await using client = Client.start(lab, lines.join("\n"))
  await client.ready()
  await ping(lab.client, "10.66.0.1")
  await download(lab.client, "10.66.0.1", 1_000_000)
  expect((await client.status()).cipher).toBe(cipher)
  if (ours.some((line) => line.startsWith("reneg-sec"))) await client.event("renegotiated", 20_000, 2)
  await ping(lab.client, "10.66.0.1")
  expect(peer.lines.filter((line) => /[Dd]ecrypt error|TLS Error/.test(line))).toEqual([])
})
