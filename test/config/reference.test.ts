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

  test("knows every directive that the README of the predecessor lists", () => {
    const listed =
      "auth-nocache auth-user-pass ca cert connection key pkcs12 tls-auth nobind bind lport local cipher comp-lzo dev dhcp-option hand-window tran-window ping ping-exit ping-restart mssfix link-mtu tun-mtu float ifconfig-nowarn mute-replay-warnings passtos persist-key persist-tun remote-random auth-retry proto pull client tls-client tls-server remote-cert-tls reneg-bytes reneg-pkts reneg-sec replay-window connect-retry keepalive connect-retry-max connect-timeout resolv-retry route-delay route route-gateway route-metric tls-timeout tls-version-min topology verb inactive ip-win32 rcvbuf redirect-gateway remote-cert-ku rport sndbuf socket-flags up dh port socks-proxy engine allow-recursive-routing ping-timer-rem secret"
    expect(listed.split(" ").filter((name) => !Object.hasOwn(directives, name))).toEqual([])
  })

  test("only what is pending is read from a push in spite of it", () => {
    for (const name of names) {
      const { pending, readWhenPushed } = rowOf(name)
      if (readWhenPushed) expect(pending).toBeDefined()
    }
  })
})
