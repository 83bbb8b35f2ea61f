/**
 * Why a certificate chain was refused. OpenSSL keeps only an error number once the handshake has failed; to name the
 * certificate at fault, the chain it had built is verified once more with the connection's own store and parameters.
 */
import { certificateSubject, type PeerCheck } from "./certificate.ts"
import { libcrypto, libssl, required } from "./library.ts"
import { cString } from "./memory.ts"

export interface ChainFailure {
  readonly check: PeerCheck
  readonly message: string
}

/** For a connection whose handshake failed with "certificate verify failed". Borrows `ssl`. */
export function describeChainFailure(ssl: number, role: "client" | "server"): ChainFailure {
  const reported = libssl.SSL_get_verify_result(ssl)
  const { error, subject } = verifyAgain(ssl, role, reported)
  const reason = libcrypto.X509_verify_cert_error_string(error) ?? `error ${error}`
  const hint = TOO_WEAK.has(error) ? "; tls-cert-profile says what is strong enough" : ""
  const whose = subject === undefined ? "" : ` (${subject})`
  return { check: checkNamedBy(error), message: `certificate verification failed: ${reason}${whose}${hint}` }
}

function verifyAgain(
  ssl: number,
  role: "client" | "server",
  reported: number,
): { readonly error: number; readonly subject: string | undefined } {
  const chain = libssl.SSL_get0_verified_chain(ssl)
  const leaf = chain && libcrypto.OPENSSL_sk_num(chain) > 0 ? libcrypto.OPENSSL_sk_value(chain, 0) : null
  if (!chain || !leaf) return { error: reported, subject: undefined }
  const store = libssl.SSL_CTX_get_cert_store(libssl.SSL_get_SSL_CTX(ssl) ?? 0) ?? 0
  const context = required(libcrypto.X509_STORE_CTX_new(), "verifying a certificate chain")
  try {
    if (libcrypto.X509_STORE_CTX_init(context, store, leaf, chain) !== 1) return { error: reported, subject: undefined }
    const purpose = cString(role === "client" ? "ssl_server" : "ssl_client")
    libcrypto.X509_STORE_CTX_set_default(context, purpose.address)
    const parameters = libcrypto.X509_STORE_CTX_get0_param(context) ?? 0
    libcrypto.X509_VERIFY_PARAM_set_auth_level(parameters, libssl.SSL_get_security_level(ssl))
    libcrypto.X509_VERIFY_PARAM_set1(parameters, libssl.SSL_get0_param(ssl) ?? 0)
    if (libcrypto.X509_verify_cert(context) === 1) return { error: reported, subject: certificateSubject(leaf) }
    const error = libcrypto.X509_STORE_CTX_get_error(context)
    const culprit = libcrypto.X509_STORE_CTX_get_current_cert(context) ?? leaf
    // Disagreement would mean that the two verifications were not the same: then what the handshake said counts.
    return error === reported
      ? { error, subject: certificateSubject(culprit) }
      : { error: reported, subject: certificateSubject(leaf) }
  } finally {
    libcrypto.X509_STORE_CTX_free(context)
    libcrypto.ERR_clear_error()
  }
}

function checkNamedBy(error: number): PeerCheck {
  if (VALIDITY.has(error)) return "validity"
  return error === X509_V_ERR_INVALID_PURPOSE ? "purpose" : "chain"
}

/** CERT_NOT_YET_VALID, CERT_HAS_EXPIRED, ERROR_IN_CERT_NOT_BEFORE_FIELD, ERROR_IN_CERT_NOT_AFTER_FIELD */
const VALIDITY: ReadonlySet<number> = new Set([9, 10, 13, 14])
const X509_V_ERR_INVALID_PURPOSE = 26
/** EE_KEY_TOO_SMALL, CA_KEY_TOO_SMALL, CA_MD_TOO_WEAK */
const TOO_WEAK: ReadonlySet<number> = new Set([66, 67, 68])
