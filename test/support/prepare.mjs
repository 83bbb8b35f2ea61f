/**
 * Makes a Debian machine with Node and npm ready for the demo and the tests, then runs a script with Bun:
 *
 *   node test/support/prepare.mjs [SCRIPT.ts ARGUMENTS...]
 *
 * Installs only what is missing and says nothing when nothing is. Plain Node without dependencies, because it runs first.
 */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { constants } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const project = join(dirname(fileURLToPath(import.meta.url)), "../..")
const bun = join(project, "node_modules/.bin/bun")

/** A Debian package, and how to see that it is there. */
const packages = [
  ["openvpn", () => command("openvpn")],
  ["iproute2", () => command("ip")],
  ["nftables", () => command("nft")],
  ["dnsmasq-base", () => command("dnsmasq")],
  ["iperf3", () => command("iperf3")],
  ["tcpdump", () => command("tcpdump")],
  ["iputils-ping", () => command("ping")],
  ["curl", () => command("curl")],
  ["procps", () => command("ps")],
  ["openssl", () => command("openssl")],
  ["libssl3", () => library("libssl.so.3") && library("libcrypto.so.3")],
]

try {
  installNodeModules()
  installPackages()
} catch (error) {
  console.error(`prepare: ${error.message}`)
  process.exit(69)
}
const script = process.argv.slice(2)
if (script.length > 0) run(script)

/** `npm ci` when there is no installation, or an older one than the lock file. */
function installNodeModules() {
  const lock = join(project, "package-lock.json")
  // npm writes this file at the end of an installation.
  const installed = join(project, "node_modules/.package-lock.json")
  if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
    say("npm ci (node_modules is missing or older than package-lock.json)")
    const { status } = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: project,
      stdio: ["ignore", "inherit", "inherit"],
    })
    if (status !== 0) throw new Error(`npm ci failed with status ${status}; is the npm registry reachable?`)
  }
  if (works(bun)) return
  // npm may have been told not to run install scripts; Bun's own puts the right binary in place.
  say("finishing the installation of bun")
  spawnSync(process.execPath, ["install.js"], { cwd: join(project, "node_modules/bun"), stdio: "inherit" })
  if (!works(bun)) throw new Error(`${bun} does not run on this machine (${process.arch}); see the messages above`)
}

function installPackages() {
  const missing = packages.filter(([, present]) => !present()).map(([name]) => name)
  if (process.platform !== "linux") throw new Error("the tests and the demo need Linux: network namespaces and tun")
  if (missing.length > 0) {
    if (process.getuid() !== 0)
      throw new Error(`not root and these packages are missing: apt-get install ${missing.join(" ")}`)
    if (!command("apt-get")) throw new Error(`no apt-get here; please install by other means: ${missing.join(", ")}`)
    say(`apt-get install ${missing.join(" ")}`)
    apt("update", "-q")
    apt("install", "-q", "-y", "--no-install-recommends", ...missing)
    const still = packages.filter(([name, present]) => missing.includes(name) && !present()).map(([name]) => name)
    if (still.length > 0) throw new Error(`installed, but not found afterwards: ${still.join(", ")}`)
  }
  if (process.getuid() !== 0) throw new Error("please run as root: network namespaces and tun devices are made here")
}

function apt(...parameters) {
  const { status, stdout, stderr } = spawnSync("apt-get", parameters, {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    encoding: "utf8",
  })
  if (status !== 0) throw new Error(`apt-get ${parameters.join(" ")} failed with status ${status}:\n${stdout}${stderr}`)
}

/** Becomes the script: same standard streams, signals passed on, same status. */
function run([file, ...parameters]) {
  const child = spawn(bun, [file, ...parameters], { cwd: project, stdio: "inherit" })
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal))
  // A signal to npm alone ends npm and its shell, and nobody passes it on.
  const parent = process.ppid
  setInterval(() => process.ppid !== parent && child.kill("SIGTERM"), 500).unref()
  child.on("error", (error) => {
    console.error(`prepare: running ${bun}: ${error.message}`)
    process.exit(69)
  })
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}

/** In PATH, or where Debian keeps what is meant for root. */
function command(name) {
  const directories = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin"]
  return directories.some((directory) => existsSync(join(directory, name)))
}

/** Known to the dynamic linker by its cache, or lying in a library directory. */
function library(name) {
  const cache = "/etc/ld.so.cache"
  if (existsSync(cache) && readFileSync(cache, "latin1").includes(`/${name}\0`)) return true
  return ["/usr/lib", "/lib"].some(
    (directory) =>
      existsSync(directory) && readdirSync(directory).some((entry) => existsSync(join(directory, entry, name))),
  )
}

function works(file) {
  return existsSync(file) && spawnSync(file, ["--version"], { stdio: "ignore" }).status === 0
}

function say(text) {
  console.error(`prepare: ${text}`)
}
