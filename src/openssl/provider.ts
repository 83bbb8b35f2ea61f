/**
 * A cipher's functions as its provider has them, numbered in OpenSSL's interface to providers of all kinds (provider-cipher(7),
 * core_dispatch.h). What EVP does around them for each packet, such as looking up by name how long the nonce is, takes as long as a
 * quarter of the encryption of a small packet.
 */
import { CString, type Pointer, read } from "bun:ffi"
import { fetchCipher } from "./crypto.ts"
import { functionsAt, libcrypto, OpenSslError, required } from "./library.ts"
import { allocate } from "./memory.ts"

export interface CipherFunctions {
  /** What `newContext` takes. */
  readonly provider: number
  readonly newContext: (provider: number) => number | null
  readonly freeContext: (context: number) => void
  /** A key or a nonce of 0 leaves the one that is set. */
  readonly encryptInit: Initialise
  readonly decryptInit: Initialise
  /** An output of 0: the input is associated data. `size` is the room at `output`, as much as the input at least. */
  readonly update: (
    context: number,
    output: number,
    written: number,
    size: number,
    input: number,
    length: number,
  ) => number
  readonly final: (context: number, output: number, written: number, size: number) => number
  readonly getParameters: (context: number, parameters: number) => number
}

type Initialise = (
  context: number,
  key: number,
  keyLength: number,
  nonce: number,
  nonceLength: number,
  parameters: number,
) => number

/** Of the provider that OpenSSL's configuration gives this cipher; kept for the life of the thread. */
export function cipherFunctions(name: string): CipherFunctions {
  const known = cached.get(name)
  if (known !== undefined) return known
  const provider = required(libcrypto.EVP_CIPHER_get0_provider(fetchCipher(name)), `the provider of ${name}`)
  const addresses = dispatched(provider, name)
  const linked = functionsAt(prototypes, (id) => addresses.get(numbers[id]) ?? missing(name, id))
  const functions = { ...linked, provider: libcrypto.OSSL_PROVIDER_get0_provider_ctx(provider) ?? 0 }
  cached.set(name, functions)
  return functions
}

/** By their numbers, the addresses of the functions of the first algorithm that has this name, in whatever letters. */
function dispatched(provider: number, name: string): ReadonlyMap<number, number> {
  const mayChange = allocate(4)
  const begin = libcrypto.OSSL_PROVIDER_query_operation(provider, OSSL_OP_CIPHER, mayChange.address) ?? 0
  for (let at = begin; at !== 0; at += OSSL_ALGORITHM_SIZE) {
    const names = read.ptr(at as Pointer, 0)
    if (names === 0) break
    if (!`${new CString(names as Pointer)}`.toUpperCase().split(":").includes(name)) continue
    const addresses = new Map<number, number>()
    for (let entry = read.ptr(at as Pointer, 16); ; entry += OSSL_DISPATCH_SIZE) {
      const number = read.i32(entry as Pointer, 0)
      if (number === 0) return addresses
      addresses.set(number, read.ptr(entry as Pointer, 8))
    }
  }
  return new Map()
}

function missing(name: string, what: string): never {
  throw new OpenSslError(`${name}: OpenSSL's provider of it lacks the function ${what}`)
}

/** Lengths are passed as addresses are: 64 bits as well, and 10 ns faster than what the type is for. */
const prototypes = {
  newContext: ["ptr", "ptr"],
  freeContext: ["void", "ptr"],
  encryptInit: ["i32", "ptr", "ptr", "ptr", "ptr", "ptr", "ptr"],
  decryptInit: ["i32", "ptr", "ptr", "ptr", "ptr", "ptr", "ptr"],
  update: ["i32", "ptr", "ptr", "ptr", "ptr", "ptr", "ptr"],
  final: ["i32", "ptr", "ptr", "ptr", "ptr"],
  getParameters: ["i32", "ptr", "ptr"],
} as const
/** OSSL_FUNC_CIPHER_*. */
const numbers: Record<keyof typeof prototypes, number> = {
  newContext: 1,
  encryptInit: 2,
  decryptInit: 3,
  update: 4,
  final: 5,
  freeContext: 7,
  getParameters: 10,
}
const OSSL_OP_CIPHER = 2
/** `{ const char *names, *properties; const OSSL_DISPATCH *functions; const char *description; }`; the names have colons between them. */
const OSSL_ALGORITHM_SIZE = 32
/** `{ int number; void (*function)(void); }` */
const OSSL_DISPATCH_SIZE = 16
const cached = new Map<string, CipherFunctions>()
