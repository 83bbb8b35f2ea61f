export { Ip, IpError } from "./ip.ts"
export { Network } from "./network.ts"
export * from "./plan.ts"
