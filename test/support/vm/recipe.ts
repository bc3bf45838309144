/** What is in every test machine. */
import type { Architecture } from "../../../images/architectures.ts";

export const SUITE = "trixie";

/** Debian packages; what they depend on comes by itself. */
export const packagesFor = (architecture: Architecture): readonly string[] => [
  architecture.kernelPackage,
  "busybox-static",
  "conntrack",
  "curl",
  "dash",
  "haproxy",
  "iproute2",
  "iputils-ping",
  "ipvsadm",
  "keepalived",
  "kmod",
  "libatomic1",
  "libstdc++6",
  "netbase",
  "nftables",
  "openssl",
  "procps",
  "tcpdump",
  "util-linux",
  "wrk",
];

/** Programs that are copied, with the libraries they need. Anything else is BusyBox's. */
export const PROGRAMS: readonly string[] = [
  "usr/bin/busybox",
  "usr/bin/curl",
  "usr/bin/dash",
  "usr/bin/kmod",
  "usr/bin/node",
  "usr/bin/nsenter",
  "usr/bin/openssl",
  "usr/bin/ping",
  "usr/bin/ss",
  "usr/bin/tcpdump",
  "usr/bin/unshare",
  "usr/bin/wrk",
  "usr/sbin/bridge",
  "usr/sbin/conntrack",
  "usr/sbin/haproxy",
  "usr/bin/ip",
  "usr/sbin/ipvsadm",
  "usr/sbin/keepalived",
  "usr/sbin/nft",
  "usr/sbin/sysctl",
  "usr/sbin/tc",
  // what glibc loads when a thread is cancelled
  "usr/lib/%/libgcc_s.so.1",
];

/** Data of packages that programs read. */
export const DATA: readonly string[] = [
  "etc/keepalived/keepalived.config-opts",
  "etc/protocols",
  "etc/services",
  "etc/ssl/openssl.cnf",
];

/** Kernel modules, with those that they need. The kernel loads the rest of them by name, such as nft_masq. */
export const MODULES: readonly string[] = [
  "8021q",
  "br_netfilter",
  "bridge",
  "dummy",
  "fou",
  "fou6",
  "ip6_tunnel",
  "ip_vs",
  "ip_vs_fo",
  "ip_vs_lc",
  "ip_vs_mh",
  "ip_vs_ovf",
  "ip_vs_rr",
  "ip_vs_sh",
  "ip_vs_wlc",
  "ip_vs_wrr",
  "ipip",
  "macvlan",
  "nf_conntrack",
  "nf_conntrack_netlink",
  "nf_tables",
  "nft_chain_nat",
  "nft_ct",
  "nft_limit",
  "nft_log",
  "nft_masq",
  "nft_nat",
  "nft_reject_inet",
  "nf_log_syslog",
  "sch_htb",
  "sch_netem",
  "sctp",
  "sctp_diag",
  "tcp_diag",
  "udp_diag",
  "inet_diag",
  "unix_diag",
  "veth",
  "virtio_net",
  "virtio_rng",
  "vrf",
  "vxlan",
];
