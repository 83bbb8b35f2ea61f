/** The tun or tap device. It outlives connections: between two of them packets wait or drop in it and leave no other way. */
import { Context, Effect, Layer } from "effect"
import type { Profile } from "../config/index.ts"
import { closeFd, hasNetAdmin, openTun, SystemError, type TunType } from "../linux/index.ts"
import { DataPlane } from "./dataplane.ts"
import { HostRefused } from "./errors.ts"

export class TunDevice extends Context.Service<
  TunDevice,
  {
    readonly name: string
    readonly type: TunType
    /** Addresses and routes are ours to set (CAP_NET_ADMIN), not the administrator's. */
    readonly managed: boolean
  }
>()("culvert/tunnel/TunDevice") {
  /** `name` as in the file: "tun" or "tap" for any free one, else that device. */
  static readonly layer = ({ type, name }: Profile["device"]) =>
    Layer.effect(
      TunDevice,
      Effect.gen(function* () {
        const plane = yield* DataPlane
        const tun = yield* Effect.acquireRelease(
          Effect.try({
            try: () => openTun({ name, type }),
            catch: (error) => new HostRefused({ message: explain(name, type, error) }),
          }),
          (tun) => Effect.sync(() => closeFd(tun.fd)),
        )
        yield* plane.attachTun(tun.fd)
        return TunDevice.of({ name: tun.name, type, managed: hasNetAdmin() })
      }),
    )
}

/** One sentence: what happened, and what mends it. */
const explain = (name: string, type: TunType, error: unknown): string => {
  if (!(error instanceof SystemError)) return `opening the ${type} device ${name}: ${String(error)}`
  const what = `opening the ${type} device ${name}: ${error.message}`
  if (error.syscall.startsWith("open")) {
    switch (error.code) {
      case "ENOENT":
      case "ENODEV":
      case "ENXIO":
        return `${what}: the container has no /dev/net/tun; give it the device (a device plugin, or a hostPath volume of type CharDevice), or: mkdir -p /dev/net && mknod /dev/net/tun c 10 200`
      case "EACCES":
      case "EPERM":
        return `${what}: this user may not open /dev/net/tun; run as root, or make the device node mode 0666`
    }
  }
  switch (error.code) {
    case "EPERM":
      return name === type
        ? `${what}: creating a ${type} device needs CAP_NET_ADMIN; add it (securityContext.capabilities.add: [NET_ADMIN]), or preallocate a device for this user: ip tuntap add mode ${type} user NAME name ${type}5, and write 'dev ${type}5'`
        : `${what}: the device does not exist or belongs to another user, and creating it needs CAP_NET_ADMIN; add the capability, or: ip tuntap add mode ${type} user NAME name ${name}`
    case "EBUSY":
      return `${what}: another process has the device open`
    case "EINVAL":
      return `${what}: the device exists with other flags; preallocate it with 'ip tuntap add mode ${type} name ${name}', without vnet_hdr or multi_queue`
    default:
      return what
  }
}
