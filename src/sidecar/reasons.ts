/**
 * Why attempts and connections end: the `reason` of the log events `disconnected` and `auth_failed` and of the metrics
 * `failures_total` and `disconnects_total`, with what to do about it. The compiler wants a row for each.
 */
import type { AttemptReason } from "../tunnel/index.ts"

export interface ReasonRow {
  readonly meaning: string
  readonly remedy: string
}

/** In the order in which a connection can meet them. */
export const reasons: Readonly<Record<AttemptReason["tag"], ReasonRow>> = {
  Transport: {
    meaning: "The socket could not be opened, or failed: refused, no route, the proxy said no.",
    remedy:
      "The message has the kernel's or the proxy's word: is the server up, does a NetworkPolicy allow egress to it?",
  },
  NoAnswer: {
    meaning: "The server does not answer, or not with what the keys of `tls-auth` or `tls-crypt` prove.",
    remedy: "Address, port and protocol; a firewall in between; the wrapping key and its direction.",
  },
  Credentials: {
    meaning: "There is no user name or password, or their files cannot be read.",
    remedy: "Mount the Secret at `/etc/culvert/credentials`, with the files `username` and `password`.",
  },
  HandshakeTimeout: {
    meaning: "It began, and did not finish within `hand-window`.",
    remedy: "Packets get lost, large ones first: try `tun-mtu` or `mssfix` lower, or `proto tcp`; a server under load.",
  },
  TlsFailed: {
    meaning: "TLS broke off; the message has OpenSSL's reason or the server's alert.",
    remedy:
      "`tls-version-min`, `tls-cipher`, an expired certificate of ours, an authority that the server does not know.",
  },
  PeerRefused: {
    meaning: "The server's certificate is not what the file asks for; the message says which check failed.",
    remedy: "`ca`, `verify-x509-name`, `remote-cert-tls`, `peer-fingerprint`, `crl-verify`; or it is not your server.",
  },
  AuthFailed: {
    meaning: "The server refused the login.",
    remedy:
      "The Secret's `username` and `password`, a used-up one-time code (`otp`), a certificate the server does not take. With `auth-retry none` it is not tried again (77).",
  },
  NoPushReply: {
    meaning: "The login went well, and the server did not send the configuration.",
    remedy: "The server's log: a script or plugin that hangs, no free address.",
  },
  PushRefused: {
    meaning: "The server wants what Culvert cannot or must not do; the message names it.",
    remedy: "Another cipher or option on the server, or `pull-filter ignore` if it can be done without.",
  },
  NetworkRefused: {
    meaning: "Addresses or routes could not be set.",
    remedy: "The message has the kernel's word, or the network of the pod that collides with the tunnel's.",
  },
  KeyUnusable: {
    meaning: "The static key of `secret` must not be used.",
    remedy: "Make a new one: `openvpn --genkey secret FILE`, for both ends.",
  },
  PingRestart: {
    meaning: "Nothing authentic came for `ping-restart` seconds.",
    remedy:
      "Once in a while it is the line. Again and again: two clients with one certificate on a server without `duplicate-cn`, or a NAT that forgets sooner than `keepalive` pings.",
  },
  PingExit: {
    meaning: "Nothing authentic came for `ping-exit` seconds, and the program ends.",
    remedy: "As above; use `ping-restart` to have it try again.",
  },
  Inactive: {
    meaning: "Too little traffic for `inactive`, and the program ends.",
    remedy: "Remove `inactive`, here or on the server, if the tunnel is to stay.",
  },
  SessionTimeout: {
    meaning: "`session-timeout` passed, and the program ends.",
    remedy: "Remove it, here or on the server, if the tunnel is to stay.",
  },
  KeyExpired: {
    meaning: "Every data key expired and no new one could be agreed on.",
    remedy: "The event `renegotiation_failed` before it says why.",
  },
  ServerRestart: { meaning: "The server asked for a new connection.", remedy: "Nothing: it follows." },
  ServerHalt: {
    meaning: "The server asked this client to end, and it did (69).",
    remedy: "Ask the server's administrator.",
  },
  ServerExit: { meaning: "The server said good-bye.", remedy: "Nothing: Culvert tries until it is back." },
  ProtocolError: {
    meaning: "Over TCP came what is no OpenVPN packet, and nothing after it can be read.",
    remedy: "Another service on that port, a proxy in between, or other wrapping keys.",
  },
  Requested: { meaning: "Culvert closed it itself.", remedy: "Nothing." },
}
