/** What the kernel must be set to before IPVS serves in a namespace, each setting with its reason. */
import { readFile } from "node:fs/promises";
import { totalmem } from "node:os";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { run, runInside } from "./inside.ts";

/** A connection takes some 450 bytes in conntrack, and 350 in IPVS. */
const BYTES_PER_CONNECTION = 800;
/** What of the instance's memory connections may take. */
const SHARE = 0.25;

/** Settings of the namespace (Documentation/networking/ip-sysctl.rst, ipvs-sysctl.rst, nf_conntrack-sysctl.rst). */
export function ipvsSettings(spec: AmphoraSpec): string[] {
  const udp = Math.max(120, spec.lvs_udp_timeout + 1);
  return [
    // answers of members pass through to clients; what else may pass is up to nftables
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    // a member that is the client's neighbour must go on answering through here
    ...["all", "default", ...spec.interfaces.map(({ name }) => name)].map(
      (name) => `net.ipv4.conf.${name}.send_redirects=0`,
    ),
    // for source NAT, and to see both sides of a connection
    "net.ipv4.vs.conntrack=1",
    // connections to a member that is gone end at once, instead of falling silent
    "net.ipv4.vs.expire_nodest_conn=1",
    // a member of weight 0 gets no new connections, not even of clients that persist on it
    "net.ipv4.vs.expire_quiescent_template=1",
    // bytes, packets and start of each connection
    "net.netfilter.nf_conntrack_acct=1",
    "net.netfilter.nf_conntrack_timestamp=1",
    // only of IPVS's connections is the end reported: nftables asks for it
    "net.netfilter.nf_conntrack_events=0",
    // a flow must not lose its source port while IPVS still knows it
    `net.netfilter.nf_conntrack_udp_timeout=${udp}`,
    `net.netfilter.nf_conntrack_udp_timeout_stream=${udp}`,
    `net.netfilter.nf_conntrack_tcp_timeout_established=${Math.max(432_000, spec.lvs_tcp_timeout + 1)}`,
    // a member that is switched off is noticed within a check: unanswered after 0.75 s, asked again after 5 s
    ...spec.interfaces.flatMap(({ name }) =>
      ["ipv4", "ipv6"].flatMap((family) => [
        `net.${family}.neigh.${name}.retrans_time_ms=250`,
        `net.${family}.neigh.${name}.base_reachable_time_ms=5000`,
        `net.${family}.neigh.${name}.delay_first_probe_time=1`,
      ]),
    ),
    // the other amphora of a pair is told of a connection when it is established, with the next packet after 10 s, and
    // when it ends; twice more in case it did not hear. A threshold counts packets: TCP's first is never told of, as it
    // establishes nothing, and "1 10" tells of the eleventh (ip_vs_sync.c, ip_vs_sync_conn_needed)
    ...(spec.vrrp === null || spec.replicas !== null
      ? []
      : ["net.ipv4.vs.sync_threshold=0 0", "net.ipv4.vs.sync_refresh_period=10", "net.ipv4.vs.sync_retries=2"]),
    // PING checks run without any privilege
    "net.ipv4.ping_group_range=0 2147483647",
  ];
}

/** @throws {CommandError} when the kernel refuses one of them */
export async function applyIpvsSettings(namespace: string, settings: readonly string[]): Promise<void> {
  await runInside(namespace, ["sysctl", "-q", "-e", "-w", ...settings]);
  await makeRoom(connectionRoom(totalmem()));
}

/** How many connections an instance of that much memory is to hold. @param memory bytes */
export function connectionRoom(memory: number): number {
  return Math.floor((memory * SHARE) / BYTES_PER_CONNECTION);
}

/** The limit is the whole kernel's, over all namespaces. It is raised, never lowered. @throws {CommandError} */
async function makeRoom(connections: number): Promise<void> {
  for (const [name, wanted] of [
    ["nf_conntrack_max", connections],
    // one connection to a bucket when it is full
    ["nf_conntrack_buckets", 2 ** Math.ceil(Math.log2(connections / 2))],
  ] as const) {
    const now = Number(await readFile(`/proc/sys/net/netfilter/${name}`, "utf8"));
    if (now < wanted) await run(["sysctl", "-q", "-w", `net.netfilter.${name}=${wanted}`]);
  }
}
