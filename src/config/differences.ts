/** Where this parser accepts or refuses another file than OpenVPN 2.6 does, on purpose. The test with OpenVPN goes by this list. */

export interface Difference {
  readonly id: string
  readonly what: string
  readonly because: string
}

/** OpenVPN accepts these. */
export const refusedHere = [
  {
    id: "numbers",
    what: "what is no number, negative or out of range where a number belongs; port names; a `link-mtu` that leaves no room",
    because: "OpenVPN takes the digits it begins with, else 0: a typing error would become a value",
  },
  {
    id: "addresses",
    what: "what cannot be a host name, an address or a netmask",
    because: "OpenVPN finds out when it uses it, with a tunnel that is half set up",
  },
  {
    id: "words",
    what: "an unknown, an empty or one more word where only some have a meaning, such as `tls-cert-profile foo`, `bind foo` and `bind-dev eth0 foo`",
    because: "OpenVPN passes over it, or judges it when TLS begins",
  },
  {
    id: "content",
    what: "certificates, keys and lists that cannot be what they should be, in files and blocks; a block of fingerprints that holds none",
    because: "OpenVPN finds out later, when it loads them",
  },
  {
    id: "push-only",
    what: "directives that are only for a server to push, such as `auth-token` and `peer-id`",
    because: "in a file they have no meaning",
  },
  {
    id: "refused",
    what: "directives that this page says are refused",
    because: "leaving them out would change what the file means or weaken it",
  },
  {
    id: "devices",
    what: "`dev null`, device names that Linux cannot have, and names that do not tell the type of the device",
    because: "OpenVPN finds out when it opens the device",
  },
  {
    id: "ciphers",
    what: "`data-ciphers none`, unknown ciphers and digests, and `auth none` beside `tls-auth`",
    because: "a tunnel without encryption is none; OpenVPN refuses the others when it connects",
  },
  {
    id: "servers",
    what: "a file without `remote`, `proto tcp-server`, two `remote` in one `<connection>`, and a `proto-force` that leaves no server",
    because: "a client connects, and to a server that the file says clearly",
  },
  {
    id: "setenv-opt",
    what: "`setenv opt` before a known directive with too few or too many words",
    because: "it is there for unknown directives; OpenVPN passes over the faulty line",
  },
  {
    id: "directions",
    what: "`key-direction` that contradicts the word behind the name of the key's file",
    because: "they cannot both be meant; OpenVPN takes the last one",
  },
  {
    id: "mode",
    what: "a file without `client`, `tls-client` and `secret`",
    because: "OpenVPN would carry packets in clear",
  },
  {
    id: "static-key",
    what: "`peer-fingerprint` and `verify-hash` beside `secret`",
    because: "a static key knows no certificates, so that nothing would be verified",
  },
  {
    id: "outside",
    what: "directives that exclude each other, below the `<connection>` blocks and so without effect in them",
    because: "they cannot both be meant",
  },
  {
    id: "lines",
    what: "more than 15 words after a name, a backslash at the end of a line, and NUL characters",
    because: "OpenVPN drops what follows, and takes the end of the line for a part of the word",
  },
] as const satisfies ReadonlyArray<Difference>

/** OpenVPN refuses these. */
export const acceptedHere = [
  {
    id: "no-effect",
    what: "any words of a directive that has no effect here, and one without the directive that it goes with",
    because: "nothing is done with them; how many there are is still checked",
  },
  {
    id: "elsewhere",
    what: "directives of other systems and other versions, such as `block-outside-dns`, `keysize` and `ncp-disable`",
    because: "providers ship one file for all, and a note says that they have no effect",
  },
  { id: "device", what: "a file without `dev`", because: "it is `dev tun`" },
  {
    id: "static-tcp",
    what: "`proto tcp` beside `secret`",
    because: "this is the side that connects, with a static key too",
  },
  {
    id: "order",
    what: "`ignore-unknown-option` and `setenv FORWARD_COMPATIBLE 1` after the line that they are about",
    because: "order has no other meaning for them",
  },
  {
    id: "newer",
    what: "words that came with OpenVPN 2.7: `DEFAULT` in `data-ciphers`, the third word of `static-challenge`",
    because: "files are written for it already",
  },
  { id: "comments", what: "comments of more than 255 characters", because: "nothing is done with them" },
  {
    id: "blocks",
    what: "a block for every directive that takes a file, in `<connection>` too",
    because: "a file can then carry all that it needs",
  },
  {
    id: "proxy-details",
    what: "`http-proxy-user-pass` and `http-proxy-option` without `http-proxy`",
    because: "a warning says that they have no effect",
  },
  {
    id: "route-gateway",
    what: "`route-gateway default`",
    because: "MirageVPN's files have it; it says what holds anyway",
  },
  { id: "setenv", what: "`setenv` with a name of one character", because: "a failed assertion ends OpenVPN" },
  {
    id: "line-ends",
    what: "the line ends of Windows in blocks of fingerprints",
    because: "they are accepted everywhere else",
  },
] as const satisfies ReadonlyArray<Difference>
