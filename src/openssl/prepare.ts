/** What takes OpenSSL longest at the first use of it. */
import { libcrypto, libssl } from "./library.ts"
import { readPrivateKey } from "./pem.ts"

/**
 * Its configuration file is read, and decoders of keys and the algorithms of TLS are looked up, for the whole process: some
 * milliseconds that a thread with nothing to do may take before another one needs them. Never fails: whoever needs what is missing is
 * told so.
 */
export function prepareOpenSsl(): void {
  const context = libssl.SSL_CTX_new(libssl.TLS_method() ?? 0)
  if (context) libssl.SSL_CTX_free(context)
  try {
    libcrypto.EVP_PKEY_free(readPrivateKey(NO_KEY, undefined))
  } catch {
    // No key: the decoders had to be found to say so.
  }
  libcrypto.ERR_clear_error()
}

const NO_KEY = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"
