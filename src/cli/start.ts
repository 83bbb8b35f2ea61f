/** `culvert start`: the sidecar. */
import { Effect, Layer, Option, SubscriptionRef } from "effect"
import { Command, Flag } from "effect/cli"
import { formatDiagnostic } from "../config/index.ts"
import {
  levelOfVerb,
  prepare,
  readSettings,
  type SettingName,
  type Settings,
  serve,
  serveControl,
  summary,
  table,
  tellEnd,
  tokenFileOf,
} from "../sidecar/index.ts"
import {
  Control,
  Credentials,
  credentialFiles,
  credentialsFrom,
  DataPlane,
  readPod,
  run,
  StatusRef,
  startSupervised,
} from "../tunnel/index.ts"
import { version } from "../version.ts"
import { logging } from "./logging.ts"
import { type Loaded, loadProfile } from "./profile.ts"

export const start = Command.make(
  "start",
  { ...settingFlags() },
  Effect.fnUntraced(function* (flags) {
    const settings = yield* Effect.fromResult(readSettings(given(flags), process.env)).pipe(
      Effect.tapError(tellEnd),
      Effect.provide(logging(undefined, "error")),
    )
    const loaded = yield* loadProfile(settings.config, "name the file with --config or CULVERT_CONFIG").pipe(
      Effect.tapError(tellEnd),
      Effect.provide(logging(settings.logFormat, "error")),
    )
    const level = settings.logLevel ?? levelOfVerb(loaded.profile.verb)
    return yield* sidecar(settings, loaded).pipe(Effect.provide(logging(settings.logFormat, level)))
  }),
).pipe(Command.withDescription("Connect and carry the pod's traffic until told to stop"))

const sidecar = (settings: Settings, loaded: Loaded) =>
  Effect.gen(function* () {
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
    const sources = {
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
    const tunnel = run(loaded, source, readPod(settings, process.env))
    const { http, control } = settings
    const tokenFile = tokenFileOf(settings)
    const answers = yield* prepare(sources)
    const { ask } = yield* Control
    const servers = [
      ...(http === "off" ? [] : [yield* startSupervised("HTTP server", running(serve(http, answers)))]),
      ...(tokenFile === undefined
        ? []
        : [yield* startSupervised("control server", running(serveControl(control, tokenFile, ask)))]),
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

const running = Effect.map((server: { readonly running: Effect.Effect<never, Error> }) => server.running)

const tellNotes = Effect.fnUntraced(function* ({ notes }: Loaded) {
  const status = yield* StatusRef
  for (const note of notes) {
    yield* status.event("config_note", formatDiagnostic(note), { level: note.severity === "info" ? "Debug" : "Warn" })
  }
})

const places = (settings: Settings) => ({ file: settings.authUserPass, directory: settings.credentials })

/** One optional flag a row of the settings table. */
function settingFlags() {
  const flag = (name: SettingName) =>
    Flag.String(table[name].flag).pipe(
      Flag.withDescription(`${table[name].documentation} [${table[name].variable}]`),
      Flag.optional,
    )
  const names = Object.keys(table) as ReadonlyArray<SettingName>
  return Object.fromEntries(names.map((name) => [name, flag(name)])) as Record<SettingName, ReturnType<typeof flag>>
}

const given = (
  flags: { readonly [K in SettingName]: Option.Option<string> },
): { readonly [K in SettingName]: string | undefined } =>
  Object.fromEntries(Object.entries(flags).map(([name, value]) => [name, Option.getOrUndefined(value)])) as {
    readonly [K in SettingName]: string | undefined
  }
