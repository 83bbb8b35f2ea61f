/** Running a program of this project as a user who may do nothing, wherever the project lies. */
import { statSync } from "node:fs"
import { dirname } from "node:path"

/** Runs what follows after `script`; mounts are seen by nobody else, because `ip netns exec` makes a mount namespace. */
export const after = (script: string): ReadonlyArray<string> => ["sh", "-c", `${script} && exec "$@"`, "sh"]

/**
 * An ordinary user without any capability, and none to regain. A clone below a closed directory such as /root is not his
 * to read: there the closed directory is covered, for this command alone, by an open one with nothing but the project.
 */
export const unprivileged = (project: string): ReadonlyArray<string> => {
  const user = [
    ...["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"],
    ...["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"],
  ]
  const closed = ancestors(project).find((directory) => (statSync(directory).mode & 0o005) !== 0o005)
  if (closed === undefined) return user
  const aside = "/mnt"
  return [
    ...after(
      [
        `mount -t tmpfs -o mode=0755 none ${aside}`,
        `mkdir ${aside}/project`,
        `mount --bind ${project} ${aside}/project`,
        `mount -t tmpfs -o mode=0755 none ${closed}`,
        `mkdir -p ${project}`,
        `mount --bind ${aside}/project ${project}`,
        `cd ${project}`,
      ].join(" && "),
    ),
    ...user,
  ]
}

/** From the root down, the project's own folder included. */
const ancestors = (directory: string): ReadonlyArray<string> =>
  directory === "/" ? ["/"] : [...ancestors(dirname(directory)), directory]
