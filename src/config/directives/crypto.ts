/** Rows: keys, certificates, what proves that the server is the right one, ciphers, and renegotiation. */
import { flag, honoured, ignored, ignoredLoudly, type Row, refused, takes, takesMany, usage } from "../row.ts"
import {
  certificateField,
  fingerprint,
  hexBits,
  integer,
  nameList,
  oneOf,
  seconds,
  sha256Fingerprint,
  text,
} from "../values.ts"

const certificateFile = { maximumBytes: 1048576 }
const keyFile = { maximumBytes: 65536 }
const direction = oneOf("0", "1")
const version = oneOf("1.0", "1.1", "1.2", "1.3")
const count = integer("count", 0, Number.MAX_SAFE_INTEGER)
const elsewhere = "keys outside of the file are not supported"
const giveFiles = "give `cert` and `key`"

export const crypto = {
  ca: honoured({
    takes: flag,
    content: certificateFile,
    doc: "Certificates (PEM) that the server's certificate must lead to.",
  }),
  cert: honoured({ takes: flag, content: certificateFile, doc: "Our certificate (PEM), followed by its chain." }),
  key: honoured({ takes: flag, content: keyFile, doc: "The private key (PEM) of `cert`." }),
  "extra-certs": honoured({ takes: flag, content: certificateFile, doc: "Further certificates (PEM) of our chain." }),
  pkcs12: honoured({
    takes: flag,
    content: keyFile,
    conflicts: ["cert", "key"],
    doc: "Certificate, key and, without `ca`, the authority in one PKCS#12 file; in a block it is base64.",
  }),
  askpass: honoured({
    takes: flag,
    content: { maximumBytes: 16384, optional: true },
    secret: true,
    doc: "The passphrase of `key` or `pkcs12`: the first line of the file, else asked for when needed.",
  }),
  capath: refused(
    "a directory of certificates is not read",
    "A directory of certificates.",
    "put them all into the file of `ca`",
  ),
  "auth-user-pass": honoured({
    takes: flag,
    content: { maximumBytes: 16384, optional: true },
    secret: true,
    doc: "Log in with a user name and a password: the two lines of the file or block, else asked for when needed.",
  }),
  "auth-nocache": honoured({
    takes: flag,
    doc: "Keep nothing of the file of `auth-user-pass` in memory: it is read at each login. What is asked for is never kept.",
  }),
  "auth-retry": honoured({
    takes: takes([oneOf("none", "nointeract", "interact")]),
    default: ["none"],
    doc: "What to do when the login is refused: `none` exits, `nointeract` tries again every ten seconds, `interact` waits until there are other credentials or another one-time code.",
  }),
  "auth-token": honoured({
    takes: takes([text("token")]),
    push: "other",
    pushOnly: true,
    secret: true,
    doc: "Takes the place of the password from now on.",
  }),
  "auth-token-user": honoured({
    takes: takes([text("base64")]),
    push: "other",
    pushOnly: true,
    secret: true,
    doc: "The user name that goes with `auth-token`.",
  }),
  "static-challenge": honoured({
    takes: takes([text("text"), oneOf("0", "1")], [oneOf("scrv1", "concat")]),
    doc: "Send a one-time code along with the password; 1: it may be shown while it is typed. `concat` puts it behind the password, as servers want that know nothing of codes.",
  }),
  "peer-fingerprint": honoured({
    takes: takes([sha256Fingerprint]),
    block: true,
    repeats: true,
    doc: "SHA-256 fingerprint of the server's certificate; may take the place of `ca`. A block holds one on each line.",
  }),
  "verify-hash": honoured({
    takes: takes([fingerprint], [oneOf("SHA1", "SHA256")]),
    block: true,
    repeats: true,
    doc: "Fingerprint of the certificate that signed the server's, SHA-1 where nothing is said. A block holds one on each line, and any will do.",
  }),
  "crl-verify": honoured({
    takes: takes([], [oneOf("dir")]),
    content: { maximumBytes: 16777216 },
    doc: "A list of revoked certificates (PEM), or with `dir` a directory with a file for each, named by its serial number.",
  }),
  "remote-cert-tls": honoured({
    takes: takes([oneOf("server", "client")]),
    doc: "The server's certificate must be made for this role (key usage and extended key usage).",
  }),
  "remote-cert-ku": honoured({
    takes: takesMany([], hexBits),
    doc: "The server's certificate must have all key usages of one of these values; without a value, any.",
  }),
  "remote-cert-eku": honoured({
    takes: takes([text("oid")]),
    doc: "The server's certificate must have this extended key usage.",
  }),
  "ns-cert-type": honoured({
    takes: takes([oneOf("server", "client")]),
    doc: "The server's certificate must have this Netscape type; obsolete, `remote-cert-tls` is its successor.",
  }),
  "verify-x509-name": honoured({
    takes: takes([text("name")], [oneOf("subject", "name", "name-prefix")]),
    doc: "The server's certificate must have this subject, with `name` this common name, with `name-prefix` one that begins so.",
  }),
  "x509-username-field": honoured({
    takes: takesMany([certificateField], certificateField),
    otherwise: "CN",
    doc: "The fields of the subject that `verify-x509-name NAME name` compares, joined by `_`; `serialNumber` is the certificate's, `ext:subjectAltName` its last mail address.",
  }),
  "x509-track": ignored("no scripts are run", "Hand fields of certificates to scripts.", { takes: usage("field") }),
  "tls-verify": refused(
    "a script cannot take part in verification",
    "Let a script judge certificates.",
    "use `verify-x509-name`",
  ),
  "tls-export-cert": ignored("no scripts are run", "Write the server's certificate to a directory.", {
    takes: usage("directory"),
  }),
  "tls-auth": honoured({
    takes: takes([], [direction]),
    content: keyFile,
    connection: true,
    conflicts: ["tls-crypt", "tls-crypt-v2"],
    doc: "Sign control packets with this static key.",
  }),
  "key-direction": honoured({
    takes: takes([direction]),
    connection: true,
    otherwise: "one key for both directions",
    doc: "Which half of the `tls-auth` key is for sending.",
  }),
  "tls-crypt": honoured({
    takes: flag,
    content: keyFile,
    connection: true,
    conflicts: ["tls-auth", "tls-crypt-v2"],
    doc: "Encrypt and sign control packets with this static key.",
  }),
  "tls-crypt-v2": honoured({
    takes: takes([], [oneOf("force-cookie", "allow-noncookie")]),
    content: keyFile,
    connection: true,
    conflicts: ["tls-auth", "tls-crypt"],
    doc: "Encrypt and sign control packets with a key of our own. The second word concerns servers.",
  }),
  secret: honoured({
    takes: takes([], [direction]),
    content: keyFile,
    conflicts: ["client", "tls-client", "pull"],
    doc: "No TLS: both sides have this static key.",
  }),
  "tls-cipher": honoured({
    takes: takes([nameList]),
    otherwise: "OpenVPN's",
    doc: "Cipher suites of TLS 1.2 and below.",
  }),
  "tls-ciphersuites": honoured({ takes: takes([nameList]), otherwise: "OpenSSL's", doc: "Cipher suites of TLS 1.3." }),
  "tls-groups": honoured({ takes: takes([nameList]), otherwise: "OpenSSL's", doc: "Groups of the key exchange." }),
  "ecdh-curve": ignored("`tls-groups` decides", "Obsolete name of one group.", { takes: usage("name") }),
  "tls-cert-profile": honoured({
    takes: takes([oneOf("insecure", "legacy", "preferred", "suiteb")]),
    default: ["legacy"],
    doc: "How strong certificates must be; `insecure` admits SHA-1 and short keys.",
  }),
  "tls-version-min": honoured({
    takes: takes([version], [oneOf("or-highest")]),
    default: ["1.2"],
    doc: "The lowest version of TLS.",
  }),
  "tls-version-max": honoured({
    takes: takes([version]),
    otherwise: "the highest there is",
    doc: "The highest version of TLS.",
  }),
  "data-ciphers": honoured({
    takes: takes([nameList]),
    default: ["AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305"],
    doc: "Ciphers of the data channel that the server may choose from. `?NAME` is left out quietly where it is unknown; `DEFAULT` is the default list.",
  }),
  "ncp-ciphers": honoured({ takes: takes([nameList]), aliasOf: "data-ciphers", doc: "Old name of `data-ciphers`." }),
  "data-ciphers-fallback": honoured({
    takes: takes([nameList]),
    doc: "The cipher for a server that does not negotiate.",
  }),
  cipher: honoured({
    takes: takes([nameList]),
    push: "other",
    otherwise: "negotiated",
    doc: "From a server: the cipher it chose. In a file the cipher of `secret`; with TLS the server is told and nothing follows, as in OpenVPN 2.6: `data-ciphers` are negotiated.",
  }),
  "ncp-disable": ignoredLoudly(
    "removed in OpenVPN 2.6: the cipher is always negotiated",
    "Do not negotiate the cipher.",
  ),
  auth: honoured({
    takes: takes([nameList]),
    default: ["SHA1"],
    doc: "Digest that signs `tls-auth` packets (and data packets of CBC ciphers).",
  }),
  keysize: ignored("obsolete: the cipher's name says it", "Key size of the cipher.", { takes: usage("bits") }),
  "key-method": ignored("obsolete: it is always 2", "Key exchange method.", { takes: takes([oneOf("2")]) }),
  "no-replay": refused("it would accept packets twice", "Switch replay protection off.", "remove the line"),
  "no-iv": refused(
    "removed in OpenVPN 2.5: it weakens the tunnel",
    "Encrypt without an initialisation vector.",
    "remove the line",
  ),
  "replay-window": honoured({
    takes: takes([integer("packets", 0, 65536)], [integer("seconds", 0, 600)]),
    default: [64, 15],
    doc: "How many packet numbers, and how many seconds, a packet may come late. UDP only; 0 is strictly in order.",
  }),
  "replay-persist": ignored("every session has new keys", "Keep the replay window in a file.", {
    takes: usage("file"),
  }),
  "mute-replay-warnings": ignored("replays are counted, not logged one by one", "Do not log replays."),
  compress: honoured({
    takes: takes([], [oneOf("stub", "stub-v2", "lzo", "lz4", "lz4-v2", "migrate")]),
    push: "other",
    doc: "The framing of compression; nothing that is sent is compressed. `migrate` concerns servers.",
  }),
  "comp-lzo": honoured({
    takes: takes([], [oneOf("yes", "no", "adaptive")]),
    push: "other",
    doc: "The old framing of compression; nothing that is sent is compressed.",
  }),
  "comp-noadapt": ignored("nothing is compressed", "Compress every packet."),
  "allow-compression": honoured({
    takes: takes([oneOf("no", "asym", "yes")]),
    otherwise: "no",
    doc: "Whether compressed packets are taken; what is sent is never compressed.",
  }),
  "reneg-sec": honoured({
    takes: takes([seconds], [seconds]),
    default: [3600],
    doc: "Change keys after so long; with a second number, after a time between both that each connection draws; 0 is never by time.",
  }),
  "reneg-bytes": honoured({ takes: takes([count]), default: [0], doc: "Change keys after so many bytes; 0 is never." }),
  "reneg-pkts": honoured({
    takes: takes([count]),
    default: [0],
    doc: "Change keys after so many packets; 0 is never.",
  }),
  "tran-window": honoured({
    takes: takes([integer("seconds", 0, 86400)]),
    default: [3600],
    doc: "How long old keys are accepted after a change.",
  }),
  "push-peer-info": honoured({
    takes: flag,
    doc: "Tell the server about this machine (kernel, OpenSSL, hardware address), and the variables `UV_*` of `setenv`.",
  }),
  "key-derivation": honoured({
    takes: takes([oneOf("tls-ekm")]),
    push: "other",
    pushOnly: true,
    doc: "Derive data keys with the TLS exporter.",
  }),
  "protocol-flags": honoured({
    takes: takesMany([], text("flag")),
    push: "other",
    pushOnly: true,
    doc: "Protocol features that the server chose.",
  }),
  "peer-id": honoured({
    takes: takes([integer("id", 0, 0xfffffe)]),
    push: "other",
    pushOnly: true,
    doc: "Our number on the server, in the head of data packets.",
  }),
  "push-continuation": honoured({
    takes: takes([oneOf("1", "2")]),
    push: "other",
    updatable: true,
    pushOnly: true,
    doc: "Whether more messages follow with options: 2 yes, 1 no.",
  }),
  engine: ignored("OpenSSL's own implementations are used", "Use cryptographic hardware.", { takes: usage("[name]") }),
  providers: ignored("OpenSSL's own implementations are used", "Load OpenSSL providers.", {
    takes: usage("name [name...]"),
  }),
  prng: ignored("obsolete: OpenSSL's generator is used", "Choose a random number generator.", {
    takes: usage("algorithm [bytes]"),
  }),
  "pkcs11-id": refused(elsewhere, "Use a key of a smart card.", giveFiles),
  "pkcs11-id-management": refused(elsewhere, "Use a key of a smart card.", giveFiles),
  "pkcs11-providers": refused(elsewhere, "Use a key of a smart card.", giveFiles),
  "pkcs11-cert-private": ignored(elsewhere, "A detail of `pkcs11-id`.", { takes: usage("[flag...]") }),
  "pkcs11-pin-cache": ignored(elsewhere, "A detail of `pkcs11-id`.", { takes: usage("seconds") }),
  "pkcs11-private-mode": ignored(elsewhere, "A detail of `pkcs11-id`.", { takes: usage("mask [mask...]") }),
  "pkcs11-protected-authentication": ignored(elsewhere, "A detail of `pkcs11-id`.", { takes: usage("[flag...]") }),
  cryptoapicert: refused(elsewhere, "Use a key of the Windows store.", giveFiles),
  "management-external-key": refused(elsewhere, "Let another program sign.", giveFiles),
  "management-external-cert": refused(elsewhere, "Let another program give the certificate.", giveFiles),
} as const satisfies Record<string, Row>
