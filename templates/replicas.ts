/**
 * How flows are spread over replicas (ACTIVE_ACTIVE): whoever holds the VIPs hashes each client's address and port to a
 * bucket, and sends the flow to the replica that has the bucket. Every replica does so with the same hash, so that flows
 * stay where they are when the VIPs move; a flow that is known stays with its replica while buckets change owners.
 * The agent keeps the buckets: they depend on which replicas serve.
 */
import { loadTemplate } from "./engine.ts";
import { isIpvs } from "./fields.ts";
import { ipvsServices } from "./ipvs.ts";
import { VXLAN_PORT } from "./ports.ts";
import type { AmphoraSpec, ListenerSpec } from "./spec.ts";
import { interfaceOf, ownAddress } from "./vips.ts";

/** What flows are spread over: enough that shares differ by a few percent at most. */
export const BUCKETS = 1024;
/** Slots, buckets and hashes of flows are all packet marks, told from each other by their size. */
export const BUCKET_OFFSET = 0x10000;
const HASH_OFFSET = 0x20000;
/** The same everywhere, or flows would not stay when the VIPs move. */
const BUCKET = `mod ${BUCKETS} seed 0x616d7068 offset ${hex(BUCKET_OFFSET)}`;
/** Another seed: flows of one bucket are not to have like hashes. */
const HASH = `mod ${0xffffffff - HASH_OFFSET} seed 0x6f726121 offset ${hex(HASH_OFFSET)}`;
/** Flows that are remembered, by a hash: some 100 bytes each. Those beyond it follow their buckets. */
const MAX_FLOWS = 262_144;

interface ReplicasView {
  readonly interfaces: readonly string[];
  readonly macs: readonly string[];
  readonly families: readonly FamilyView[];
  readonly self: number;
  /** how a hash becomes a bucket */
  readonly bucket: string;
  readonly offset: string;
  readonly flows: number;
  /** seconds that a silent flow is remembered */
  readonly idle: number;
  /** where flows come in by the tunnel, and from whom; null: they come as they are */
  readonly tunnel: TunnelView | null;
  /** bytes of a TCP segment that fits into the tunnel */
  readonly segments: readonly { readonly protocol: string; readonly vips: readonly string[]; readonly mss: number }[];
  /** whether this table is the one that says that the namespace is no router */
  readonly guards: boolean;
}

interface FamilyView {
  readonly number: 4 | 6;
  readonly protocol: string;
  readonly client: string;
  readonly hash: string;
  readonly vips: readonly string[];
  /** messages of ICMP that tell of a packet of the VIP's, and in them its destination's address and port */
  readonly errors: string;
  readonly inner: string;
}

interface TunnelView {
  readonly port: number;
  readonly protocol: string;
  readonly replicas: readonly string[];
}

/**
 * The inner header begins 8 bytes into the message. Without options an IPv4 header has its destination at byte 16, and
 * 20 bytes; an IPv6 header has it at byte 24, and 40 bytes (RFC 792, RFC 4443).
 */
const FAMILIES = [
  {
    number: 4,
    protocol: "ip",
    errors: "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
    inner: "@th,192,32 . @th,240,16",
  },
  {
    number: 6,
    protocol: "ip6",
    errors: "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
    inner: "@th,256,128 . @th,400,16",
  },
] as const;

const template = loadTemplate<ReplicasView>("nftables", "replicas.nft", ["family"]);

/** The text of replicas.nft, or null: there are no replicas. */
export function renderReplicas(spec: AmphoraSpec): string | null {
  const { replicas, vips, interfaces } = spec;
  const self = selfOf(spec);
  if (replicas === null || self === undefined) return null;
  const others = replicas.members.filter((each) => each !== self);
  const v6 = self.address.includes(":");
  const families = FAMILIES.map((family) => ({
    ...family,
    client: `${family.protocol} saddr . th sport`,
    hash: `jhash ${family.protocol} saddr . th sport ${HASH}`,
    vips: vips.filter((vip) => vip.includes(":") === (family.number === 6)),
  })).filter((family) => family.vips.length > 0);
  const tunneled = replicas.forwarding === "TUNNEL";
  const mtu = tunnelMtu(spec);
  return template({
    interfaces: [...new Set(vips.map((vip) => interfaceOf(vip, interfaces)?.name ?? ""))],
    macs: others.map(({ mac }) => mac),
    families,
    self: self.slot,
    bucket: BUCKET,
    offset: hex(BUCKET_OFFSET),
    flows: MAX_FLOWS,
    idle: Math.max(60, ...spec.listeners.map((listener) => idleSeconds(listener, spec))),
    tunnel: tunneled
      ? { port: VXLAN_PORT, protocol: v6 ? "ip6" : "ip", replicas: others.map(({ address }) => address) }
      : null,
    segments: tunneled
      ? families.map(({ number, protocol, vips: of }) => ({ protocol, vips: of, mss: mtu - (number === 4 ? 40 : 60) }))
      : [],
    guards: ipvsServices(spec).length === 0,
  });
}

function hex(number: number): string {
  return `0x${number.toString(16)}`;
}

/** After which silence a connection of the listener ends. */
function idleSeconds({ protocol, timeout_client_data }: ListenerSpec, spec: AmphoraSpec): number {
  if (!isIpvs(protocol)) return Math.ceil(timeout_client_data / 1000);
  return protocol === "UDP" ? spec.lvs_udp_timeout : spec.lvs_tcp_timeout;
}

type Replicas = NonNullable<AmphoraSpec["replicas"]>;

/** This amphora among the replicas. */
export function selfOf({ replicas, amphora_id }: AmphoraSpec): Replicas["members"][number] | undefined {
  return replicas?.members.find((each) => each.amphora_id === amphora_id);
}

/** Bytes of a packet that fits into the tunnel: the outer headers take 50 with IPv4, 70 with IPv6 (RFC 7348, 5). */
export function tunnelMtu(spec: AmphoraSpec): number {
  const outer = interfaceOf(spec.vips[0] ?? "", spec.interfaces)?.mtu ?? 1500;
  return outer - (ownAddress(spec)?.includes(":") ? 70 : 50);
}
