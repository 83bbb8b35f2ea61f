/** The sidecar: what `culvert start` runs. */
import { Effect, Fiber, Layer, Scope, SubscriptionRef } from "effect"
import { formatDiagnostic } from "../config/index.ts"
import type { KillSwitch } from "../network/index.ts"
import type { Listen } from "../settings/index.ts"
// One by one: the room's index has the servers' modules in it.
import { tokenFileOf } from "../sidecar/controltoken.ts"
import type { Sources } from "../sidecar/http.ts"
import { levelOfVerb, tellEnd } from "../sidecar/log.ts"
import { readSettings, type SettingName, type Settings } from "../sidecar/settings.ts"
import { summary } from "../sidecar/summary.ts"
import {
  Control,
  Credentials,
  credentialFiles,
  credentialsFrom,
  DataPlane,
  type HostRefused,
  type Pod,
  raise,
  readPod,
  run,
  StatusRef,
  startSupervised,
} from "../tunnel/index.ts"
import { version } from "../version.ts"
import { logging } from "./logging.ts"
import { type Loaded, loadProfile } from "./profile.ts"

/** Runs until told to stop. `given`: the settings of the command line. */
export const startSidecar = Effect.fnUntraced(function* (given: Given) {
  const settings = yield* Effect.fromResult(readSettings(given, process.env)).pipe(
    Effect.tapError(tellEnd),
    Effect.provide(logging(undefined, "error")),
  )
  return yield* Effect.acquireUseRelease(Scope.make(), (scope) => begin(settings, scope), Scope.close)
})

export type Given = { readonly [K in SettingName]?: string | undefined }

/**
 * The kill switch is raised before the file is read, for as long as `scope`: a file that cannot be understood leaves the pod
 * closed, and the kernel sets the table while the rest of the program is loaded.
 */
const begin = Effect.fnUntraced(function* (settings: Settings, scope: Scope.Closeable) {
  const pod = readPod(settings, process.env)
  const raising = yield* raise(pod).pipe(
    Scope.provide(scope),
    Effect.uninterruptible,
    Effect.forkIn(scope, { startImmediately: true }),
  )
  const loaded = yield* loadProfile(settings.config, "name the file with --config or CULVERT_CONFIG").pipe(
    Effect.tapError(tellEnd),
    Effect.provide(logging(settings.logFormat, "error")),
  )
  const level = settings.logLevel ?? levelOfVerb(loaded.profile.verb)
  return yield* sidecar(settings, loaded, pod, raising, scope).pipe(Effect.provide(logging(settings.logFormat, level)))
})

const sidecar = (
  settings: Settings,
  loaded: Loaded,
  pod: Pod,
  raising: Fiber.Fiber<KillSwitch["Service"], HostRefused>,
  killSwitchScope: Scope.Closeable,
) =>
  Effect.gen(function* () {
    yield* Effect.addFinalizer((exit) => Scope.close(killSwitchScope, exit))
    const { profile } = loaded
    const status = yield* StatusRef
    const plane = yield* DataPlane
    yield* status.event("starting", `Culvert ${version}, ${settings.config}`, {
      facts: {
        version,
        config: settings.config,
        remotes: profile.remotes.map((remote) => `${remote.transport}://${remote.host}:${remote.port}`),
        http: settings.http === "off" ? "off" : `[${settings.http.hostname}]:${settings.http.port}`,
      },
    })
    yield* status.event("settings", "settings and configuration in force", {
      facts: { settings: summary(settings, profile) },
    })
    yield* tellNotes(loaded)
    const sources: Sources = {
      status: () => SubscriptionRef.getUnsafe(status.ref),
      counters: plane.counters,
      now: plane.now,
      listen: status.listen,
    }
    const source = {
      load: loadProfile(settings.config).pipe(
        Effect.tap((again) => Effect.provideService(tellNotes(again), StatusRef, status)),
      ),
      credentials: credentialFiles(places(settings)),
    }
    const tunnel = run(loaded, source, pod, Fiber.join(raising))
    const tokenFile = tokenFileOf(settings)
    const servers = [
      ...(settings.http === "off" ? [] : [yield* startHttp(settings.http, sources)]),
      ...(tokenFile === undefined ? [] : [yield* startControl(settings.control, tokenFile)]),
    ]
    return yield* Effect.raceAllFirst([tunnel, ...servers])
  }).pipe(
    Effect.scoped,
    Effect.tapError(tellEnd),
    Effect.provide(
      Layer.mergeAll(
        Control.layer,
        DataPlane.layer(settings.disableOffloads).pipe(Layer.provideMerge(StatusRef.layer)),
        Layer.succeed(Credentials, credentialsFrom(places(settings))),
      ),
    ),
    Effect.onExit(() => Effect.logInfo("stopped").pipe(Effect.annotateLogs({ event: "stopped" }))),
  )

/** The servers' modules are a third of the program's: they are loaded where there is a server. */
const startHttp = Effect.fnUntraced(function* (listen: Listen, sources: Sources) {
  const { prepare, serve } = yield* Effect.promise(() => import("../sidecar/http.ts"))
  const answers = yield* prepare(sources)
  return yield* startSupervised("HTTP server", running(serve(listen, answers)))
})

const startControl = Effect.fnUntraced(function* (listen: Listen, tokenFile: string) {
  const { serveControl } = yield* Effect.promise(() => import("../sidecar/control.ts"))
  const { ask } = yield* Control
  return yield* startSupervised("control server", running(serveControl(listen, tokenFile, ask)))
})

const running = Effect.map((server: { readonly running: Effect.Effect<never, Error> }) => server.running)

const tellNotes = Effect.fnUntraced(function* ({ notes }: Loaded) {
  const status = yield* StatusRef
  for (const note of notes) {
    yield* status.event("config_note", formatDiagnostic(note), { level: note.severity === "info" ? "Debug" : "Warn" })
  }
})

const places = (settings: Settings) => ({ file: settings.authUserPass, directory: settings.credentials })
