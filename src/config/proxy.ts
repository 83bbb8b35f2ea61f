/** The proxy that a server is reached through: `http-proxy` with its companions, or `socks-proxy`. */
import type { Contents, GivenLogin } from "./content.ts"
import { type Diagnostics, quote, wordOf } from "./diagnostic.ts"
import type { ProxyLogin, ProxyServer, SocksProxy } from "./profile.ts"
import type { Setting, Settings } from "./settings.ts"

/** Of a server that is reached over TCP. `scope`: what applies to it. */
export const proxyOf = (scope: Settings, contents: Contents, report: Diagnostics): ProxyServer | undefined => {
  const http = scope.last("http-proxy")
  if (http !== undefined) return httpProxy(http, scope, contents, report)
  reportDetails(scope, report)
  return socksProxy(scope, contents)
}

/** Of a server that is reached over UDP. */
export const datagramProxyOf = (scope: Settings, contents: Contents, report: Diagnostics): SocksProxy | undefined => {
  const http = scope.last("http-proxy")
  if (http === undefined) reportDetails(scope, report)
  else
    report.error(
      http,
      `"http-proxy" carries TCP only, and the server is reached over UDP`,
      "proto tcp-client, if the server has it",
    )
  return socksProxy(scope, contents)
}

const reportDetails = (scope: Settings, report: Diagnostics): void => {
  for (const name of ["http-proxy-option", "http-proxy-user-pass"] as const) {
    const detail = scope.last(name)
    if (detail !== undefined) report.warning(detail, `"${name}" has no effect without "http-proxy"`)
  }
}

const socksProxy = (scope: Settings, contents: Contents): SocksProxy | undefined => {
  const socks = scope.last("socks-proxy")
  if (socks === undefined) return undefined
  const [host, port = 1080, file] = socks.values
  const inline = scope.last("socks-proxy-user-pass")
  const login = inline === undefined ? undefined : given(contents.login(inline, scope))
  return {
    _tag: "Socks",
    host,
    port,
    login: login ?? (file === undefined ? undefined : loginOf(socks, file, scope, contents)),
  }
}

const httpProxy = (
  http: Setting<readonly [string, number, string?, ("none" | "basic" | "ntlm" | "ntlm2")?]>,
  scope: Settings,
  contents: Contents,
  report: Diagnostics,
): ProxyServer => {
  const [host, port, file, method] = http.values
  const inline = scope.last("http-proxy-user-pass")
  const login = inline && given(contents.login(inline, scope))
  const { version, userAgent, headers } = requestOptions(scope.every("http-proxy-option"), report)
  const proxy = { _tag: "Http", host, port, version, userAgent, headers } as const
  if (method === "ntlm" || method === "ntlm2")
    report.error(
      http,
      `"http-proxy" with ${method} is refused: NTLM rests on MD4, which OpenSSL 3 no longer has`,
      "auto, for digest and basic, where the proxy offers one of them",
    )
  if (method === "none" || (file === undefined && inline === undefined)) return { ...proxy, authentication: undefined }
  const isFile = file !== undefined && file !== "auto" && file !== "auto-nct"
  const authentication = {
    method: isFile ? ("basic" as const) : file === "auto-nct" ? ("any-but-basic" as const) : ("any" as const),
    login: login ?? (isFile && inline === undefined ? loginOf(http, file, scope, contents) : { _tag: "Ask" as const }),
  }
  return { ...proxy, authentication }
}

/** `stdin` stands for "ask". */
const loginOf = (setting: Setting, file: string, scope: Settings, contents: Contents): ProxyLogin => {
  if (file === "stdin") return { _tag: "Ask" }
  const { line, column } = setting
  const content = { tag: "file", path: { text: file, line, column } } as const
  return given(contents.login({ ...setting, content }, scope)) ?? { _tag: "Ask" }
}

const given = (login: GivenLogin | undefined): ProxyLogin | undefined =>
  login?.password === undefined ? undefined : { _tag: "Given", username: login.username, password: login.password }

const requestOptions = (
  settings: ReadonlyArray<Setting<readonly ["VERSION" | "AGENT" | "CUSTOM-HEADER", string, string?]>>,
  report: Diagnostics,
) => {
  let version: "1.0" | "1.1" = "1.0"
  let userAgent: string | undefined
  const headers: Array<readonly [string, string]> = []
  for (const setting of settings) {
    const [kind, first, second] = setting.values
    if (second !== undefined && kind !== "CUSTOM-HEADER")
      report.error(
        wordOf(setting, 3),
        `http-proxy-option ${kind}: unexpected ${quote(second)}`,
        "put the value in quotes",
      )
    if (kind === "AGENT") userAgent = first
    else if (kind === "CUSTOM-HEADER") headers.push([first, second ?? ""])
    else if (first === "1.0" || first === "1.1") version = first
    else report.error(wordOf(setting, 2), `http-proxy-option VERSION: expected one of 1.0, 1.1, not ${quote(first)}`)
  }
  return { version, userAgent, headers }
}
