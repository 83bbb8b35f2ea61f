/**
 * libcrypto and libssl of OpenSSL 3 through bun:ffi, and what their error queue says.
 *
 * The tables below are the C prototypes: returned type first, then the arguments. Addresses are plain numbers, 0 is NULL;
 * a function that returns a pointer gives null for NULL. `long`, `unsigned long` and `size_t` results are read as 32 bits
 * where the values fit (error codes, flags, lengths), which spares a BigInt.
 */
import { dlopen, type FFIFunction, linkSymbols, type Pointer } from "bun:ffi"
import { allocate } from "./memory.ts"

export const libcrypto = open("libcrypto.so.3", {
  // errors
  ERR_clear_error: ["void"],
  ERR_get_error: ["u32"],
  ERR_error_string_n: ["void", "u32", "ptr", "u64"],
  ERR_lib_error_string: ["cstring", "u32"],
  ERR_reason_error_string: ["cstring", "u32"],
  OpenSSL_version: ["cstring", "i32"],
  // memory, memory BIOs, stacks
  CRYPTO_free: ["void", "ptr", "ptr", "i32"],
  CRYPTO_memcmp: ["i32", "ptr", "ptr", "u64"],
  BIO_new: ["ptr", "ptr"],
  BIO_s_mem: ["ptr"],
  BIO_new_mem_buf: ["ptr", "ptr", "i32"],
  BIO_read: ["i32", "ptr", "ptr", "i32"],
  BIO_write: ["i32", "ptr", "ptr", "i32"],
  BIO_ctrl: ["i32", "ptr", "i32", "i64", "ptr"],
  BIO_free: ["i32", "ptr"],
  OPENSSL_sk_num: ["i32", "ptr"],
  OPENSSL_sk_value: ["ptr", "ptr", "i32"],
  // random, digests, ciphers
  RAND_bytes: ["i32", "ptr", "i32"],
  EVP_MD_fetch: ["ptr", "ptr", "ptr", "ptr"],
  EVP_sha1: ["ptr"],
  EVP_sha256: ["ptr"],
  EVP_Digest: ["i32", "ptr", "u64", "ptr", "ptr", "ptr", "ptr"],
  HMAC: ["ptr", "ptr", "ptr", "i32", "ptr", "u64", "ptr", "ptr"],
  HMAC_CTX_new: ["ptr"],
  HMAC_CTX_free: ["void", "ptr"],
  HMAC_Init_ex: ["i32", "ptr", "ptr", "i32", "ptr", "ptr"],
  HMAC_Update: ["i32", "ptr", "ptr", "u64"],
  HMAC_Final: ["i32", "ptr", "ptr", "ptr"],
  EVP_CIPHER_fetch: ["ptr", "ptr", "ptr", "ptr"],
  EVP_CIPHER_get0_provider: ["ptr", "ptr"],
  EVP_CIPHER_CTX_new: ["ptr"],
  EVP_CIPHER_CTX_free: ["void", "ptr"],
  EVP_CIPHER_CTX_set_padding: ["i32", "ptr", "i32"],
  EVP_EncryptInit_ex: ["i32", "ptr", "ptr", "ptr", "ptr", "ptr"],
  EVP_EncryptUpdate: ["i32", "ptr", "ptr", "ptr", "ptr", "i32"],
  EVP_DecryptInit_ex: ["i32", "ptr", "ptr", "ptr", "ptr", "ptr"],
  EVP_DecryptUpdate: ["i32", "ptr", "ptr", "ptr", "ptr", "i32"],
  // certificates and keys
  PEM_read_bio_X509: ["ptr", "ptr", "ptr", "ptr", "ptr"],
  PEM_read_bio_PrivateKey: ["ptr", "ptr", "ptr", "ptr", "ptr"],
  PEM_read_bio_X509_CRL: ["ptr", "ptr", "ptr", "ptr", "ptr"],
  PEM_write_bio_X509: ["i32", "ptr", "ptr"],
  PEM_write_bio_PrivateKey: ["i32", "ptr", "ptr", "ptr", "ptr", "i32", "ptr", "ptr"],
  d2i_PKCS12_bio: ["ptr", "ptr", "ptr"],
  PKCS12_parse: ["i32", "ptr", "ptr", "ptr", "ptr", "ptr"],
  PKCS12_free: ["void", "ptr"],
  OPENSSL_sk_free: ["void", "ptr"],
  OSSL_PROVIDER_get0_provider_ctx: ["ptr", "ptr"],
  OSSL_PROVIDER_load: ["ptr", "ptr", "ptr"],
  OSSL_PROVIDER_query_operation: ["ptr", "ptr", "i32", "ptr"],
  OSSL_PROVIDER_unload: ["i32", "ptr"],
  X509_CRL_free: ["void", "ptr"],
  X509_CRL_get0_by_cert: ["i32", "ptr", "ptr", "ptr"],
  EVP_PKEY_free: ["void", "ptr"],
  X509_free: ["void", "ptr"],
  X509_check_private_key: ["i32", "ptr", "ptr"],
  X509_get_subject_name: ["ptr", "ptr"],
  X509_get_issuer_name: ["ptr", "ptr"],
  X509_CRL_get_issuer: ["ptr", "ptr"],
  X509_CRL_get0_lastUpdate: ["ptr", "ptr"],
  X509_CRL_get0_nextUpdate: ["ptr", "ptr"],
  X509_get0_notBefore: ["ptr", "ptr"],
  X509_get0_notAfter: ["ptr", "ptr"],
  X509_get0_serialNumber: ["ptr", "ptr"],
  X509_get_key_usage: ["u32", "ptr"],
  X509_get_ext_by_NID: ["i32", "ptr", "i32", "i32"],
  X509_get_ext_d2i: ["ptr", "ptr", "i32", "ptr", "ptr"],
  X509_digest: ["i32", "ptr", "ptr", "ptr", "ptr"],
  X509_NAME_print_ex: ["i32", "ptr", "ptr", "i32", "u64"],
  X509_NAME_entry_count: ["i32", "ptr"],
  X509_NAME_get_entry: ["ptr", "ptr", "i32"],
  X509_NAME_ENTRY_get_data: ["ptr", "ptr"],
  X509_NAME_ENTRY_get_object: ["ptr", "ptr"],
  GENERAL_NAME_get0_value: ["ptr", "ptr", "ptr"],
  GENERAL_NAMES_free: ["void", "ptr"],
  EXTENDED_KEY_USAGE_free: ["void", "ptr"],
  OBJ_obj2txt: ["i32", "ptr", "i32", "ptr", "i32"],
  OBJ_txt2obj: ["ptr", "ptr", "i32"],
  ASN1_OBJECT_free: ["void", "ptr"],
  ASN1_STRING_print_ex: ["i32", "ptr", "ptr", "u64"],
  ASN1_STRING_get0_data: ["ptr", "ptr"],
  ASN1_STRING_length: ["i32", "ptr"],
  ASN1_BIT_STRING_free: ["void", "ptr"],
  ASN1_TIME_set: ["ptr", "ptr", "i64"],
  ASN1_TIME_diff: ["i32", "ptr", "ptr", "ptr", "ptr"],
  ASN1_TIME_free: ["void", "ptr"],
  ASN1_INTEGER_to_BN: ["ptr", "ptr", "ptr"],
  BN_bn2dec: ["ptr", "ptr"],
  BN_free: ["void", "ptr"],
  // chain verification
  X509_STORE_add_cert: ["i32", "ptr", "ptr"],
  X509_STORE_add_crl: ["i32", "ptr", "ptr"],
  X509_STORE_CTX_new: ["ptr"],
  X509_STORE_CTX_init: ["i32", "ptr", "ptr", "ptr", "ptr"],
  X509_STORE_CTX_free: ["void", "ptr"],
  X509_STORE_CTX_set_default: ["i32", "ptr", "ptr"],
  X509_STORE_CTX_get0_param: ["ptr", "ptr"],
  X509_STORE_CTX_get_error: ["i32", "ptr"],
  X509_STORE_CTX_get_current_cert: ["ptr", "ptr"],
  X509_verify_cert: ["i32", "ptr"],
  X509_verify_cert_error_string: ["cstring", "i32"],
  X509_VERIFY_PARAM_set1: ["i32", "ptr", "ptr"],
  X509_VERIFY_PARAM_set_flags: ["i32", "ptr", "u64"],
  X509_VERIFY_PARAM_set_auth_level: ["void", "ptr", "i32"],
  X509_VERIFY_PARAM_set_time: ["void", "ptr", "i64"],
})

export const libssl = open("libssl.so.3", {
  OPENSSL_cipher_name: ["cstring", "ptr"],
  TLS_method: ["ptr"],
  SSL_CTX_new: ["ptr", "ptr"],
  SSL_CTX_free: ["void", "ptr"],
  SSL_CTX_ctrl: ["i32", "ptr", "i32", "i64", "ptr"],
  SSL_CTX_set_options: ["u64", "ptr", "u64"],
  SSL_CTX_set_security_level: ["void", "ptr", "i32"],
  SSL_CTX_set_cipher_list: ["i32", "ptr", "ptr"],
  SSL_CTX_set_ciphersuites: ["i32", "ptr", "ptr"],
  SSL_CTX_set_num_tickets: ["i32", "ptr", "u64"],
  SSL_CTX_get_cert_store: ["ptr", "ptr"],
  SSL_CTX_get0_param: ["ptr", "ptr"],
  SSL_CTX_use_certificate: ["i32", "ptr", "ptr"],
  SSL_CTX_use_PrivateKey: ["i32", "ptr", "ptr"],
  SSL_new: ["ptr", "ptr"],
  SSL_free: ["void", "ptr"],
  SSL_set_bio: ["void", "ptr", "ptr", "ptr"],
  SSL_set_verify: ["void", "ptr", "i32", "ptr"],
  SSL_set_connect_state: ["void", "ptr"],
  SSL_set_accept_state: ["void", "ptr"],
  SSL_do_handshake: ["i32", "ptr"],
  SSL_get_error: ["i32", "ptr", "i32"],
  SSL_read: ["i32", "ptr", "ptr", "i32"],
  SSL_write: ["i32", "ptr", "ptr", "i32"],
  SSL_shutdown: ["i32", "ptr"],
  SSL_get_verify_result: ["i32", "ptr"],
  SSL_get0_peer_certificate: ["ptr", "ptr"],
  SSL_get0_verified_chain: ["ptr", "ptr"],
  SSL_get_SSL_CTX: ["ptr", "ptr"],
  SSL_get0_param: ["ptr", "ptr"],
  SSL_get_security_level: ["i32", "ptr"],
  SSL_get_version: ["cstring", "ptr"],
  SSL_get_current_cipher: ["ptr", "ptr"],
  SSL_CIPHER_get_name: ["cstring", "ptr"],
  SSL_export_keying_material: ["i32", "ptr", "ptr", "u64", "ptr", "u64", "ptr", "u64", "i32"],
})

/** OpenSSL refused or failed. The message reads "doing x: why" and never holds key material. */
export class OpenSslError extends Error {
  override readonly name = "OpenSslError"
}

/** "OpenSSL 3.5.1 1 Jul 2025": the library that is loaded. */
export const opensslVersion = (): string => String(libcrypto.OpenSSL_version(0))

/** One entry of OpenSSL's error queue. */
export interface QueuedError {
  /** Packed library and reason, as `ERR_get_error` returns it. */
  readonly code: number
  readonly text: string
}

/** Empties this thread's error queue, oldest entry (the cause) first. */
export function takeErrors(): ReadonlyArray<QueuedError> {
  const errors: Array<QueuedError> = []
  for (let code = libcrypto.ERR_get_error(); code !== 0; code = libcrypto.ERR_get_error()) {
    errors.push({ code, text: errorText(code) })
  }
  return errors
}

/** An error with what the queue says; the queue is empty afterwards. */
export function opensslError(doing: string, hint = ""): OpenSslError {
  return new OpenSslError(`${doing}: ${takeErrors()[0]?.text ?? "OpenSSL gives no reason"}${hint}`)
}

/** The pointer that a constructor of OpenSSL returned, or throws. */
export function required(pointer: number | null, doing: string): number {
  if (!pointer) throw opensslError(doing)
  return pointer
}

/** For functions that return 1 when all is well. */
export function check(result: number, doing: string): void {
  if (result !== 1) throw opensslError(doing)
}

function errorText(code: number): string {
  const reason = libcrypto.ERR_reason_error_string(code)
  if (reason !== null) {
    const library = libcrypto.ERR_lib_error_string(code)
    return library === null ? reason : `${reason} (${library})`
  }
  const slot = allocate(256)
  libcrypto.ERR_error_string_n(code, slot.address, slot.bytes.length)
  return new TextDecoder().decode(slot.bytes.subarray(0, slot.bytes.indexOf(0)))
}

interface Types {
  ptr: number
  i32: number
  u32: number
  i64: number | bigint
  u64: number | bigint
}

interface Results extends Omit<Types, "ptr" | "i64" | "u64"> {
  ptr: number | null
  u64: bigint
  i64: bigint
  cstring: string | null
  void: undefined
}

type Prototype = readonly [returns: keyof Results, ...args: ReadonlyArray<keyof Types>]

type Functions<T extends Record<string, Prototype>> = {
  readonly [K in keyof T]: T[K] extends readonly [infer R extends keyof Results, ...infer A extends Array<keyof Types>]
    ? (...args: { [I in keyof A]: Types[A[I]] }) => Results[R]
    : never
}

/** Functions that OpenSSL gives the addresses of. */
export function functionsAt<const T extends Record<string, Prototype>>(
  prototypes: T,
  addressOf: (name: keyof T & string) => number,
): Functions<T> {
  const table: Record<string, FFIFunction> = {}
  for (const [name, [returns, ...args]] of Object.entries(prototypes))
    table[name] = { returns, args, ptr: addressOf(name) as Pointer }
  return linkSymbols(table).symbols as unknown as Functions<T>
}

function open<const T extends Record<string, Prototype>>(soname: string, prototypes: T): Functions<T> {
  const table: Record<string, FFIFunction> = {}
  for (const [name, [returns, ...args]] of Object.entries(prototypes)) table[name] = { returns, args }
  try {
    return dlopen(soname, table).symbols as unknown as Functions<T>
  } catch (error) {
    throw new OpenSslError(
      `loading ${soname}: ${error instanceof Error ? error.message : error} (is OpenSSL 3 installed?)`,
    )
  }
}
