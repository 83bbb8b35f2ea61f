/** Messages of the DNS. Apart from the room's index: their library is loaded where there is a forwarder. */
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
