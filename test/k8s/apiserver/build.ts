/**
 * `npm run admission`: builds the admission chain of Kubernetes' own code (main.go) and runs the tests that ask it. The source of
 * that code is a package of Debian sid, which has the version that the policies are for. Takes five minutes and 3 GB while it runs.
 */
import { copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { succeed } from "../../support/child.ts"
import { bun, project } from "../../support/culvert.ts"
import { installPackages } from "../../support/packages.ts"
import { findProgram, place, source } from "./admission.ts"

if (findProgram() === undefined) await build()
const test = Bun.spawn([bun, "test", "--timeout", "60000", "test/k8s/admission.test.ts"], {
  cwd: project,
  stdio: ["ignore", "inherit", "inherit"],
})
process.exit(await test.exited)

async function build(): Promise<void> {
  if (Bun.which("debootstrap") === null && !(await installPackages("debootstrap"))) throw new Error("no debootstrap")
  const root = join(dirname(place), `sid.${process.pid}`)
  const inside = (...command: ReadonlyArray<string>) =>
    succeed(["nice", "-n", "10", "chroot", root, ...command], { deadline: 3_600_000 })
  try {
    say("debootstrap sid")
    mkdirSync(dirname(place), { recursive: true })
    await succeed(["debootstrap", "--variant=minbase", "--include=ca-certificates", "sid", root], {
      deadline: 1_200_000,
    })
    // A mirror that stands still is good enough for a compiler.
    writeFileSync(join(root, "etc/apt/apt.conf.d/99local"), 'Acquire::Check-Valid-Until "false";\n')
    say("golang-go, golang-k8s-apiserver-dev")
    await inside("apt-get", "update", "-q")
    await inside("apt-get", "install", "-q", "-y", "--no-install-recommends", "golang-go", "golang-k8s-apiserver-dev")
    await succeed(["mount", "-t", "proc", "proc", join(root, "proc")])
    mkdirSync(join(root, "build/admission"), { recursive: true })
    copyFileSync(source, join(root, "build/admission/main.go"))
    say("go build")
    const environment = [
      "HOME=/build",
      "GO111MODULE=off",
      "GOPATH=/usr/share/gocode",
      "CGO_ENABLED=0",
      "GOTELEMETRY=off",
    ]
    await inside("env", ...environment, "sh", "-c", "cd /build/admission && go build -o ../program .")
    renameSync(join(root, "build/program"), place)
  } finally {
    await succeed(["sh", "-c", `mountpoint -q ${root}/proc && umount ${root}/proc || true`])
    rmSync(root, { recursive: true, force: true })
  }
}

function say(what: string): void {
  console.error(`admission: ${what}`)
}
