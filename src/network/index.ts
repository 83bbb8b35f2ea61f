export type { HostFacts } from "./beside.ts"
export { type Change, hostRoute, isIpv6, type NextHop, ours } from "./change.ts"
export { covers } from "./cidr.ts"
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
} from "./dns/names.ts"
export { explain } from "./explain.ts"
export {
  type Exception,
  type Firewall,
  forwarderPorts,
  type Inbound,
  type ServerEndpoint,
  type Tunnel,
  tableName,
} from "./firewall.ts"
export { type Former, planFormer } from "./former.ts"
export { Ip, IpError } from "./ip.ts"
export { KillSwitch } from "./killswitch.ts"
export { Network } from "./network.ts"
export { FirewallError, Nft, type NftObject } from "./nft.ts"
export { mergeNetwork, namesIn, type Plan, type PlanInput, planNetwork, tunnelAddresses } from "./plan.ts"
export { forwarding, originalOf, parseResolvConf, type ResolvConf } from "./resolvconf.ts"
