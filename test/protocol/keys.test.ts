/** Key derivation against the vectors of facts H.2 and H.3. */
import { describe, expect, test } from "bun:test"
import { crypto } from "../../src/openssl/index.ts"
import { prfKeyBlock, sliceKeyBlock, tls1Prf } from "../../src/protocol/keys.ts"

const filled = (byte: number) => new Uint8Array(32).fill(byte)
const counting = (from: number, length: number) => Uint8Array.from({ length }, (_, index) => from + index)
const text = (value: string) => new TextEncoder().encode(value)

describe("the TLS 1.0 PRF", () => {
  test("OpenVPN's official vector, with a secret of odd length", () => {
    const secret =
      "Lorem ipsum dolor sit amet, consectetur adipisici elit, sed eiusmod tempor incidunt ut labore et dolore magna aliqua."
    const seed = "Quis aute iure reprehenderit in voluptate velit esse cillum dolore"
    expect(tls1Prf(crypto, text(secret), seed, [], 32).toHex()).toBe(
      "d98c8518c85e946927916acfc2d592fbb1567e4b4b1459e6a904ac2ddab72d67",
    )
  })
})

describe("the key block", () => {
  const client = { preMaster: counting(0, 48), random1: filled(0xc1), random2: filled(0xc2) }
  const server = { preMaster: undefined, random1: filled(0x51), random2: filled(0x52) }
  const ids = { clientSessionId: counting(0xc0, 8), serverSessionId: counting(0x50, 8) }
  const block = prfKeyBlock(crypto, { client, server, ...ids })

  test("of the whole PRF chain", () => {
    expect(
      tls1Prf(crypto, client.preMaster, "OpenVPN master secret", [client.random1, server.random1], 48).toHex(),
    ).toBe("c3a524962b4179319969df502036e6e1f11c23d244c0024332569059d8263f783ce601d0f19348466aef448ea3af8617")
    expect(block.subarray(0, 32).toHex()).toBe("d25503ec95c54d3dd0989fa671ae387a83ab7c0d4ac0d612de32b2932b242b4b")
    expect(block.subarray(192, 224).toHex()).toBe("e4181971ecc537b98ccc73f3d73bd27419169e5404e4f9d1c319334a4b92139d")
    expect(crypto.hash("SHA256", block).toHex()).toBe(
      "7d7335b526d59e3ef3af10f19f654f876e3a8eeaa37f755ed527f9c682ed1174",
    )
  })

  test("is cut into the client's keys", () => {
    const facts = { keyId: 3, cipher: "AES-256-GCM", peerId: 5 } as const
    const key = sliceKeyBlock(block, facts)!
    expect(key).toMatchObject(facts)
    expect(key.send.cipherKey).toEqual(block.subarray(0, 32))
    expect(key.send.implicitIv.toHex()).toBe("9ca98d99ce16be34")
    expect(key.receive.cipherKey.toHex()).toBe("8952856b7e0000b59cac960a43ec37908a5c554c48245808c4fc54e0827f7028")
    expect(key.receive.implicitIv).toEqual(block.subarray(192, 200))
  })

  test("gives 16 bytes to AES-128-GCM", () => {
    const key = sliceKeyBlock(block, { keyId: 0, cipher: "AES-128-GCM", peerId: undefined })!
    expect(key.send.cipherKey).toEqual(block.subarray(0, 16))
    expect(key.receive.cipherKey).toEqual(block.subarray(128, 144))
  })

  test("of nothing but zeros in a cipher key is refused", () => {
    const facts = { keyId: 0, cipher: "AES-128-GCM", peerId: undefined } as const
    expect(sliceKeyBlock(block.slice().fill(0, 128, 144), facts)).toBeUndefined()
    expect(sliceKeyBlock(block.slice().fill(0, 0, 16), facts)).toBeUndefined()
  })
})
