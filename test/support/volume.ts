/** A ConfigMap or Secret as kubelet mounts it: each file is a link through `..data`, and everything changes with that one link. */
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"

export class Volume {
  readonly path: string
  #version = 0

  /** `path` is made. */
  constructor(path: string, files: Readonly<Record<string, string>>) {
    this.path = path
    mkdirSync(path)
    this.replace(files)
    for (const file of Object.keys(files)) symlinkSync(join("..data", file), join(path, file))
  }

  replace(files: Readonly<Record<string, string>>): void {
    const version = `..${++this.#version}`
    mkdirSync(join(this.path, version))
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.path, version, name), text)
    symlinkSync(version, join(this.path, "..data_tmp"))
    renameSync(join(this.path, "..data_tmp"), join(this.path, "..data"))
  }
}
