import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { type DirectiveName, directives, rowOf, sections } from "../../src/config/directives.ts"
import { referencePage } from "../../src/config/index.ts"

const names = Object.keys(directives) as Array<DirectiveName>

/** To write it anew: bun -e 'await Bun.write("docs/configuration.md", (await import("./src/config/index.ts")).referencePage())' */
test("docs/configuration.md is what the table says", () => {
  expect(readFileSync(join(import.meta.dir, "../../docs/configuration.md"), "utf8")).toBe(referencePage())
})

describe("the directive table", () => {
  test("has every directive in one section only", () => {
    expect(sections.flatMap(({ rows }) => Object.keys(rows)).sort()).toEqual([...names].sort())
  })

  test("names only directives that exist as aliases and conflicts", () => {
    for (const name of names) {
      const { aliasOf, conflicts = [] } = rowOf(name)
      for (const other of [...conflicts, ...(aliasOf === undefined ? [] : [aliasOf])])
        expect(names).toContain(other as DirectiveName)
    }
  })

  test("defaults are values that their grammars read back", () => {
    for (const name of names) {
      const { default: values, takes } = rowOf(name)
      const grammars = [...takes.required, ...takes.optional]
      for (const [index, value] of (values ?? []).entries()) {
        expect(grammars[index]!.read(grammars[index]!.write(value))).toMatchObject({ _tag: "Success", success: value })
      }
    }
  })

  test.if(Bun.which("openvpn") !== null)("knows every option that the installed openvpn lists", () => {
    const listed = [
      ...Bun.spawnSync(["openvpn", "--help"])
        .stdout.toString()
        .matchAll(/^--([a-z0-9-]+)/gm),
    ]
    expect(listed.length).toBeGreaterThan(200)
    // The help calls it tun-max-mtu; openvpn itself knows it as tun-mtu-max.
    const names = listed.map(([, name]) => (name === "tun-max-mtu" ? "tun-mtu-max" : name!))
    expect(names.filter((name) => !Object.hasOwn(directives, name))).toEqual([])
  })

  test("knows every directive of 7,341 files of 51 providers", () => {
    const found =
      "dev auth-user-pass remote nobind cipher client ca proto verb persist-key remote-cert-tls persist-tun resolv-retry auth tls-auth key-direction reneg-sec comp-lzo compress tun-mtu remote-random mssfix ping fast-io persist-remote-ip pull redirect-gateway tls-client ping-restart verify-x509-name mute-replay-warnings route-delay tun-mtu-extra key cert auth-nocache script-security tls-crypt mute explicit-exit-notify route-method route ping-timer-rem tls-cipher ping-exit sndbuf rcvbuf ncp-ciphers pull-filter setenv ns-cert-type connect-retry server-poll-timeout keepalive route-ipv6 reneg-bytes tls-version-min fragment dhcp-option tls-exit passtos down-pre connect-retry-max route-metric comp-noadapt replay-window hand-window auth-retry data-ciphers ifconfig-ipv6 key-method txqueuelen push-peer-info dev-type data-ciphers-fallback keysize port ncp-disable connection float"
    expect(found.split(" ").filter((name) => !Object.hasOwn(directives, name))).toEqual([])
  })

  test("knows every directive that the README of the predecessor lists", () => {
    const listed =
      "auth-nocache auth-user-pass ca cert connection key pkcs12 tls-auth nobind bind lport local cipher comp-lzo dev dhcp-option hand-window tran-window ping ping-exit ping-restart mssfix link-mtu tun-mtu float ifconfig-nowarn mute-replay-warnings passtos persist-key persist-tun remote-random auth-retry proto pull client tls-client tls-server remote-cert-tls reneg-bytes reneg-pkts reneg-sec replay-window connect-retry keepalive connect-retry-max connect-timeout resolv-retry route-delay route route-gateway route-metric tls-timeout tls-version-min topology verb inactive ip-win32 rcvbuf redirect-gateway remote-cert-ku rport sndbuf socket-flags up dh port socks-proxy engine allow-recursive-routing ping-timer-rem secret"
    expect(listed.split(" ").filter((name) => !Object.hasOwn(directives, name))).toEqual([])
  })
})
