/** OpenSSL 3 as the rest of Culvert sees it; structurally the `Crypto`, `Random` and `Tls` ports of the protocol. */
export { Aead, type AeadCipher, type AeadDirection, nonceLength, tagLength } from "./aead.ts"
export { type CbcCipher, CbcHmac, type CbcKey } from "./cbc.ts"
export type { PeerCertificate, PeerCheck } from "./certificate.ts"
export { TlsContext, type TlsOptions, type TlsVersion } from "./context.ts"
export { crypto, type Digest, random } from "./crypto.ts"
export { OpenSslError } from "./library.ts"
export { checkKeyPair } from "./pem.ts"
export { TlsConnection, type TlsState } from "./tls.ts"
