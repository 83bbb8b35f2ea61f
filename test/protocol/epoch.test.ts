/** Key derivation of the epoch format: RFC 5869, OpenVPN's own numbers (facts H.2), and ours (facts H.3). */
import { describe, expect, test } from "bun:test"
import { crypto } from "../../src/openssl/index.ts"
import { epochKey, expandLabel, hkdfExpand, nextEpochSecret } from "../../src/protocol/epoch.ts"
import { Pair, pushReply } from "./pair.ts"

const hex = (text: string) => Uint8Array.fromHex(text)

test("HKDF-Expand is that of RFC 5869 A.1 and A.2", () => {
  const prk = hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
  expect(hkdfExpand(crypto, prk, hex("f0f1f2f3f4f5f6f7f8f9"), 42).toHex()).toBe(
    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
  )
  const long = hex("06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244")
  const info = Uint8Array.from({ length: 80 }, (_, index) => 0xb0 + index)
  expect(hkdfExpand(crypto, long, info, 82).toHex()).toBe(
    "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
  )
})

describe("OpenVPN's labels", () => {
  const secret = hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")

  test("expand a secret", () => {
    expect(expandLabel(crypto, secret, "unit test", 16).toHex()).toBe("185eaa1c7f228ab8eb29773214d92046")
    expect(hkdfExpand(crypto, secret, hex("001b0e6f76706e20756e6974207465737400"), 27).toHex()).toBe(
      "875a8eec18556380b8d933ed323c2df8e8eccf4972e683f06a83ac",
    )
  })

  test("make the key and the vector of an epoch", () => {
    const { key, implicitIv } = epochKey(crypto, hex(`130c${"00".repeat(30)}`), 24)
    expect(key.toHex()).toBe("ed8533db1c28ace418e9006ab29c17417d60ebe6cd90bf0a")
    expect(implicitIv.toHex()).toBe("86890aabf032cb59f4cfa34e")
  })

  test("make OpenVPN 3's", () => {
    const { key, implicitIv } = epochKey(
      crypto,
      hex("616361676163616f3838383838383838515351575153515f72726f7874787073"),
      32,
    )
    expect(key.toHex()).toBe("d1db3525002c0f60b59485545b15a6ba8d6dc57d691c87b16a61638a81891a96")
    expect(implicitIv.toHex()).toBe("82cb0094a2cdbecff132333c")
  })
})

test("the chain of secrets from 00..1f", () => {
  const first = Uint8Array.from({ length: 32 }, (_, index) => index)
  expect(epochKey(crypto, first, 32).key.toHex()).toBe(
    "ebbbf838a8658beb56f2324d691351bd4c8c230fb271ada8f67de830b7ee3192",
  )
  expect(epochKey(crypto, first, 16).key.toHex()).toBe("c0b015350de890ee8e1849d2c29a1b94")
  expect(epochKey(crypto, first, 16).implicitIv.toHex()).toBe("568de14f8f744bfb0b721f66")
  const second = nextEpochSecret(crypto, first)
  expect(second.toHex()).toBe("e35bffa31e2723bf09e8d394fa9171ca4e534553bffa1d3482de4c9b3bc639d7")
  expect(epochKey(crypto, second, 32)).toEqual({
    key: hex("4010426e3e169cd80289883d7f38d7eee445ead5fa21812fabebe155a4408ee5"),
    implicitIv: hex("9caaa619cb6277bbb0e90c48"),
  })
  expect(nextEpochSecret(crypto, second).toHex()).toBe(
    "f42019f62ea8cd6a2dc9e3e0778903253a1320d2c87f27e15e0494b796665101",
  )
})

describe("what the server chooses holds for every key", () => {
  const cases = [
    ["the epoch format", { epoch: true, derivation: "tls-ekm" }, "protocol-flags tls-ekm aead-epoch"],
    ["a framing", { compression: { form: "stub-v2", decompress: false } }, "compress stub-v2"],
  ] as const
  for (const [name, server, push] of cases)
    test(name, () => {
      const pair = new Pair({ server: { ...server, push: [`${pushReply},${push}`] } }).connect()
      expect(pair.agree(0)).toBe(true)
      pair.client.session.renegotiate(pair.now)
      pair.network.run(() => pair.client.keys.has(1) && pair.server.keys.has(1), 10_000)
      expect(pair.agree(1)).toBe(true)
    })

  test("a CBC cipher, with the digest of the file", () => {
    const cipher = "AES-256-CBC" as const
    const client = { dataCiphers: [cipher], auth: "SHA256" } as const
    const push = [pushReply.replace("AES-256-GCM", cipher)]
    const pair = new Pair({ client, server: { cipher, auth: "SHA256", push } }).connect()
    expect(pair.agree(0)).toBe(true)
    expect(pair.client.keys.get(0)!.send.hmacKey).toHaveLength(32)
  })
})
