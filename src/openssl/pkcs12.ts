/** PKCS#12: certificate, private key and further certificates in one encrypted file, as PEM texts. */
import { type Pointer, read } from "bun:ffi"
import { libcrypto, OpenSslError, takeErrors } from "./library.ts"
import { allocate, cString } from "./memory.ts"

export interface Pkcs12 {
  readonly certificate: string
  /** Unencrypted. */
  readonly key: string
  /** All further certificates; "" without any. */
  readonly others: string
}

/** Throws `OpenSslError`. */
export function readPkcs12(bytes: Uint8Array, passphrase: string | undefined): Pkcs12 {
  const input = allocate(bytes.length)
  input.bytes.set(bytes)
  const bio = libcrypto.BIO_new_mem_buf(input.address, bytes.length)
  libcrypto.ERR_clear_error()
  const file = bio ? libcrypto.d2i_PKCS12_bio(bio, 0) : null
  libcrypto.BIO_free(bio ?? 0)
  if (!file) {
    takeErrors()
    throw new OpenSslError("reading pkcs12: it is not a PKCS#12 file")
  }
  try {
    return parse(file, passphrase) ?? withLegacyCiphers(() => parse(file, passphrase)) ?? refuse(passphrase)
  } finally {
    libcrypto.PKCS12_free(file)
    input.bytes.fill(0)
  }
}

/** Undefined when OpenSSL refuses; what it says about that goes through `refuse`. */
function parse(file: number, passphrase: string | undefined): Pkcs12 | undefined {
  const secret = cString(passphrase ?? "")
  const results = allocate(24)
  results.bytes.fill(0)
  const done = libcrypto.PKCS12_parse(file, secret.address, results.address, results.address + 8, results.address + 16)
  secret.bytes.fill(0)
  if (done !== 1) return undefined
  const [key, certificate, others] = [0, 8, 16].map((offset) => read.ptr(results.address as Pointer, offset)) as [
    number,
    number,
    number,
  ]
  const chain = Array.from({ length: others === 0 ? 0 : libcrypto.OPENSSL_sk_num(others) }, (_, index) =>
    Number(libcrypto.OPENSSL_sk_value(others, index)),
  )
  try {
    if (key === 0 || certificate === 0) throw new OpenSslError("reading pkcs12: it lacks a certificate or its key")
    return {
      key: written((bio) => libcrypto.PEM_write_bio_PrivateKey(bio, key, 0, 0, 0, 0, 0)),
      certificate: written((bio) => libcrypto.PEM_write_bio_X509(bio, certificate)),
      others: chain.map((x509) => written((bio) => libcrypto.PEM_write_bio_X509(bio, x509))).join(""),
    }
  } finally {
    libcrypto.EVP_PKEY_free(key)
    for (const x509 of [certificate, ...chain]) libcrypto.X509_free(x509)
    if (others !== 0) libcrypto.OPENSSL_sk_free(others)
  }
}

/** Files made before OpenSSL 3 are encrypted with RC2 or 3DES, which it keeps apart. They are at hand only in here. */
function withLegacyCiphers<A>(use: () => A): A | undefined {
  const [first] = takeErrors()
  const isUnsupported = first !== undefined && /unsupported/.test(first.text)
  if (!isUnsupported) {
    refusal = first?.text
    return undefined
  }
  // An explicit provider takes the place of the default one, unless that is loaded as well.
  const loaded = ["default", "legacy"].map((name) => libcrypto.OSSL_PROVIDER_load(0, cString(name).address))
  try {
    return use()
  } finally {
    refusal = takeErrors()[0]?.text
    for (const provider of loaded) if (provider) libcrypto.OSSL_PROVIDER_unload(provider)
  }
}

let refusal: string | undefined

function refuse(passphrase: string | undefined): never {
  const hint = passphrase === undefined ? " (a passphrase may be missing)" : " (is the passphrase right?)"
  throw new OpenSslError(`reading pkcs12: ${refusal ?? "OpenSSL gives no reason"}${hint}`)
}

function written(write: (bio: number) => number): string {
  const bio = libcrypto.BIO_new(libcrypto.BIO_s_mem() ?? 0) ?? 0
  const parts: Array<Uint8Array> = []
  const buffer = allocate(4096)
  write(bio)
  for (;;) {
    const length = libcrypto.BIO_read(bio, buffer.address, buffer.bytes.length)
    if (length <= 0) break
    parts.push(buffer.bytes.slice(0, length))
  }
  libcrypto.BIO_free(bio)
  buffer.bytes.fill(0)
  return new TextDecoder().decode(Buffer.concat(parts))
}
