export { InjectorError } from "./certificates.ts"
export { run as runInjector } from "./injector.ts"
export { inCluster } from "./kubeapi.ts"
export { defaultsOf, type InjectorSettings, table as injectorTable } from "./settings.ts"
