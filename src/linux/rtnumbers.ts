/** Sizes and numbers of rtnetlink(7), from the kernel's headers linux/rtnetlink.h, if_link.h, if_addr.h and fib_rules.h. */

export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400

export const RTM_NEWLINK = 16
export const RTM_GETLINK = 18
export const RTM_NEWADDR = 20
export const RTM_DELADDR = 21
export const RTM_GETADDR = 22
export const RTM_NEWROUTE = 24
export const RTM_DELROUTE = 25
export const RTM_GETROUTE = 26
export const RTM_NEWRULE = 32
export const RTM_DELRULE = 33
export const RTM_GETRULE = 34

/** ifinfomsg: u8 family, u8, u16 type, i32 index, u32 flags, u32 which of them are meant. */
export const IFINFOMSG_SIZE = 16
export const IFF_UP = 1
export const IFLA_IFNAME = 3
export const IFLA_MTU = 4

/** ifaddrmsg: u8 family, prefix length, flags, scope; u32 link. */
export const IFADDRMSG_SIZE = 8
export const IFA_ADDRESS = 1
export const IFA_LOCAL = 2
/** u32 seconds of being preferred and of being valid, u32 made, u32 changed. */
export const IFA_CACHEINFO = 6
export const IFA_F_NODAD = 0x02

/** rtmsg: u8 family, target's bits, source's bits, tos, table, protocol, scope, type; u32 flags. */
export const RTMSG_SIZE = 12
export const RTM_F_CLONED = 0x200
export const RTN_UNICAST = 1
export const RTNH_F_ONLINK = 4
export const RTPROT_BOOT = 3
export const RT_TABLE_UNSPEC = 0
export const RT_TABLE_MAIN = 254
export const RT_SCOPE_UNIVERSE = 0
export const RT_SCOPE_LINK = 253
export const RT_SCOPE_NOWHERE = 255
export const RTA_DST = 1
export const RTA_SRC = 2
export const RTA_OIF = 4
export const RTA_GATEWAY = 5
export const RTA_PRIORITY = 6
export const RTA_PREFSRC = 7
export const RTA_METRICS = 8
export const RTA_TABLE = 15
export const RTAX_MTU = 2

/** fib_rule_hdr is like rtmsg, with an action in place of the type. */
export const FR_ACT_TO_TBL = 1
export const FRA_SRC = 2
export const FRA_PRIORITY = 6
export const FRA_TABLE = 15
