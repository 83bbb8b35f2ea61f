export { Cache } from "./cache.ts"
export {
  answers,
  askingForValidation,
  failure,
  fitting,
  isTruncated,
  isValidated,
  parseQuery,
  type Query,
  withId,
} from "./message.ts"
export {
  type PodNames,
  podNames,
  type Route,
  routeName,
  searchDomains,
  serversOf,
  type TunnelNames,
  tunnelNames,
  type Upstream,
} from "./names.ts"
