/** One of two equal ends (`tls-client` or `secret` without `pull`): the other one may know it by its port, as in OpenVPN 2.6. */
import { describe, expect, test } from "bun:test"
import { print } from "../../src/config/index.ts"
import { certificate, expectSameProfile, files, parsed, staticKey } from "./fixtures.ts"

const sideFiles = files({ "s.key": staticKey })
const secret = "dev tun\nremote peer.example 9\nifconfig 10.0.0.1 10.0.0.2\ncipher AES-256-CBC\nsecret s.key\n"
const tls = `dev tun\nremote peer.example 9\ntls-client\nifconfig 10.0.0.1 10.0.0.2\nsetenv CLIENT_CERT 0\n<ca>\n${certificate}</ca>\n`

const localOf = (text: string) => {
  const { profile } = parsed(text, sideFiles)
  expectSameProfile(parsed(print(profile, { secrets: true })).profile, profile)
  return profile.remotes.map(({ local }) => local)
}
const bound = (port: number) => [{ address: undefined, port }]

describe.each([
  ["secret", secret],
  ["tls-client", tls],
])("the local end with %s", (_name, text) => {
  test("is bound to port 1194, or the one that the file names", () => {
    expect(localOf(text)).toEqual(bound(1194))
    expect(localOf(`${text}port 2000`)).toEqual(bound(2000))
    expect(localOf(`${text}rport 2000`)).toEqual(bound(1194))
    expect(localOf(`${text}lport 3000`)).toEqual(bound(3000))
  })

  test("is free with nobind, with pull, and over TCP, where the other end waits for a connection", () => {
    expect(localOf(`${text}nobind`)).toEqual([undefined])
    expect(localOf(`${text}lport 0`)).toEqual([undefined])
    expect(localOf(`${text}proto tcp-client`)).toEqual([undefined])
  })
})

test("with pull it is free", () => {
  expect(localOf(`${tls}pull`)).toEqual([undefined])
})

test("servers that differ in it are told apart", () => {
  const block = (lines: string) => `<connection>\nremote b 1\n${lines}</connection>\n`
  expect(localOf(`${secret}${block("")}${block("nobind\n")}${block("lport 7\n")}`)).toEqual([
    ...bound(1194),
    undefined,
    ...bound(7),
  ])
})
