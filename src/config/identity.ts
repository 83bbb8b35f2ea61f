/** What proves to the server who we are: certificate and key, user name and password. */
import * as Redacted from "effect/Redacted"
import type { Contents } from "./content.ts"
import { Diagnostics } from "./diagnostic.ts"
import { whereToPutIt } from "./inspection.ts"
import type { Credentials, Identity, StaticChallenge } from "./profile.ts"
import { type Settings, standsForBlock } from "./settings.ts"

export const identityOf = (settings: Settings, contents: Contents, report: Diagnostics): Identity | undefined => {
  const cert = settings.last("cert")
  const key = settings.last("key")
  const extra = settings.last("extra-certs")
  const pkcs12 = settings.last("pkcs12")
  const certificate = cert && contents.certificates(cert, settings)
  const privateKey = key && contents.privateKey(key, settings)
  const chain = extra && contents.certificates(extra, settings)
  const bytes = pkcs12 && contents.pkcs12(pkcs12, settings)
  const passphrase = passphraseOf(settings, contents)
  if (cert !== undefined && !settings.mentions("key")) report.error(cert, `"cert" needs "key" as well`)
  if (key !== undefined && !settings.mentions("cert")) report.error(key, `"key" needs "cert" as well`)
  if (extra !== undefined && !settings.mentions("cert") && !settings.mentions("pkcs12"))
    report.warning(extra, `"extra-certs" has no effect without "cert"`)
  if (key !== undefined && privateKey?.encrypted && passphrase === undefined) {
    report.info(key, "the private key is encrypted: its passphrase is needed at start", whereToPutIt)
  }
  if (bytes !== undefined) return { _tag: "Pkcs12", bytes, chain, passphrase }
  if (certificate === undefined || privateKey === undefined) return undefined
  return {
    _tag: "Pem",
    certificate: certificate + (chain ?? ""),
    key: Redacted.make(privateKey.pem),
    passphrase,
  }
}

export const credentialsOf = (settings: Settings, contents: Contents, report: Diagnostics): Credentials | undefined => {
  const setting = settings.last("auth-user-pass")
  const challenge = challengeOf(settings, report)
  if (setting === undefined) return undefined
  if (!settings.mentions("client") && !settings.mentions("pull"))
    report.error(setting, `"auth-user-pass" needs "pull"`, "add a line: client")
  if (setting.content === undefined) return { _tag: "Ask", username: undefined, challenge }
  const given = contents.login(setting, settings)
  if (given === undefined) return undefined
  const { username, password } = given
  if (settings.has("auth-nocache") && setting.content.tag === "file" && !standsForBlock(setting))
    return { _tag: "File", path: contents.pathOf(setting.content.path.text), challenge }
  if (password !== undefined) return { _tag: "Given", username, password, challenge }
  report.info(setting, "the password is not given along with the user name: it is needed at start")
  return { _tag: "Ask", username, challenge }
}

const challengeOf = (settings: Settings, report: Diagnostics): StaticChallenge | undefined => {
  const setting = settings.last("static-challenge")
  if (setting === undefined) return undefined
  if (!settings.mentions("auth-user-pass"))
    report.warning(setting, `"static-challenge" has no effect without "auth-user-pass"`)
  const [text, echo, form = "scrv1"] = setting.values
  return { text, echo: echo === "1", form }
}

export const requireProof = (settings: Settings, report: Diagnostics): void => {
  const withoutCertificate = settings
    .all("setenv")
    .some(({ values: [name, value] }) => name === "CLIENT_CERT" && value === "0")
  // The last three are refused, which is said at their line.
  const proofs = [
    "cert",
    "key",
    "auth-user-pass",
    "pkcs12",
    "pkcs11-id",
    "pkcs11-id-management",
    "cryptoapicert",
  ] as const
  if (withoutCertificate || proofs.some((name) => settings.mentions(name))) return
  report.error(
    Diagnostics.wholeFile,
    "nothing proves to the server who we are: there is neither a certificate nor auth-user-pass",
    "add the blocks <cert> and <key>, or a line: auth-user-pass",
  )
}

const passphraseOf = (settings: Settings, contents: Contents): Redacted.Redacted<string> | undefined => {
  const setting = settings.last("askpass")
  return setting?.content === undefined ? undefined : contents.passphrase(setting, settings)
}
