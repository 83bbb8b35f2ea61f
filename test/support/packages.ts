/** Debian packages that only a few tests need. What every test needs is in `prepare.mjs`. */
import { finish } from "./child.ts"

/** Installs them; false when they cannot be had. Two test files that install at the same time wait for each other. */
export async function installPackages(...names: ReadonlyArray<string>): Promise<boolean> {
  if (process.getuid?.() !== 0) return false
  const script = 'apt-get update -q; apt-get install -q -y --no-install-recommends "$@"'
  // RUNLEVEL: the services that packages bring are not started.
  const { code } = await finish(["flock", "/var/lib/apt", "sh", "-c", script, "sh", ...names], {
    environment: { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" },
    deadline: 600_000,
  })
  return code === 0
}
