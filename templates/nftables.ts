/**
 * What the nftables template shows: who may reach the IPVS listeners, how many connections each takes, the mark by
 * which its connections are found, and the source address that members see.
 */
import ipaddr from "ipaddr.js";
import { loadTemplate } from "./engine.ts";
import { familyOf, type IpvsService, ipvsServices, marksOf } from "./ipvs.ts";
import type { AmphoraSpec, ListenerSpec } from "./spec.ts";
import { interfaceOf, isOnSubnet, wayTo } from "./vips.ts";

interface EndpointView {
  address: string;
  protocol: string;
  port: number;
  chain: string;
}

interface ListenerView {
  chain: string;
  mark: string;
  /** what becomes of a client that is not allowed */
  refusal: string;
  /** null: everybody of that family may connect; empty: nobody */
  allowed4: string[] | null;
  allowed6: string[] | null;
  nobody4: boolean;
  nobody6: boolean;
}

interface SourceView {
  family: string;
  vip: string;
  protocol: string;
  mark: string;
  seen: SeenView[];
}

/** What some members see as the source of connections. */
interface SeenView {
  /** null: the amphora's own address */
  from: string | null;
  members: MemberEndpoint[];
}

interface MemberEndpoint {
  address: string;
  port: number;
}

interface LimitView {
  table: string;
  mark: string;
  limit: number;
  /** seconds after which a silent connection no longer counts */
  idle: number;
  refusal: string;
  tcp: boolean;
}

interface NftablesView {
  endpoints4: EndpointView[];
  endpoints6: EndpointView[];
  listeners: ListenerView[];
  /** whether packets that are on their way to another replica pass through here */
  passing: boolean;
  sources: SourceView[];
  /** whether an answer may come that belongs to a connection of the other amphora's */
  paired: boolean;
  limits: LimitView[];
}

const template = loadTemplate<NftablesView>("nftables", "amphora.nft", ["listener", "source", "limit"]);

/** The kernel makes room for all of a set beforehand, 16 bytes for each; its connection table is hardly ever larger. */
const MAX_COUNTED = 1_000_000;

/** The text of amphora.nft: a table for all, and one for each listener with a connection limit. */
export function renderNftables(spec: AmphoraSpec): string {
  const services = ipvsServices(spec);
  const marks = marksOf(spec);
  const markOf = (listener: ListenerSpec) => hexMark(marks.get(listener.id) ?? 0);
  const listeners = [...new Map(services.map(({ listener }) => [listener.id, listener])).values()];
  return template({
    endpoints4: services.filter(({ family }) => family === 4).map(endpointView),
    endpoints6: services.filter(({ family }) => family === 6).map(endpointView),
    listeners: listeners.map((listener) => listenerView(listener, markOf(listener))),
    passing: spec.replicas !== null,
    sources: services.map((service) => sourceView(service, spec, markOf(service.listener))),
    paired: spec.vrrp !== null && spec.replicas === null,
    limits: listeners
      .filter(({ connection_limit }) => connection_limit > 0 && connection_limit <= MAX_COUNTED)
      .map((listener) => limitView(listener, spec, markOf(listener))),
  });
}

/** As nft(8) and conntrack(8) show it and take it. */
export function hexMark(mark: number): string {
  return `0x${mark.toString(16).padStart(8, "0")}`;
}

function chainOf(listener: ListenerSpec): string {
  return `listener-${listener.id}`;
}

function endpointView({ vip, transport, port, listener }: IpvsService): EndpointView {
  return { address: vip, protocol: transport.toLowerCase(), port, chain: chainOf(listener) };
}

/** A TCP client is told at once; to answer a datagram would help whoever forged its source. */
function refusalOf({ protocol }: ListenerSpec): string {
  return protocol === "FORWARD_TCP" ? "reject with tcp reset" : "drop";
}

function listenerView(listener: ListenerSpec, mark: string): ListenerView {
  const allowed = (family: 4 | 6): string[] | null => {
    if (listener.allowed_cidrs === null) return null;
    const all = outermost(listener.allowed_cidrs.filter((cidr) => familyOf(cidr.split("/")[0] ?? "") === family));
    return all.some((cidr) => cidr.endsWith("/0")) ? null : all;
  };
  const [allowed4, allowed6] = [allowed(4), allowed(6)];
  return {
    chain: chainOf(listener),
    mark,
    refusal: refusalOf(listener),
    allowed4: allowed4?.length === 0 ? null : allowed4,
    allowed6: allowed6?.length === 0 ? null : allowed6,
    nobody4: allowed4?.length === 0,
    nobody6: allowed6?.length === 0,
  };
}

/** Networks without their host bits, less those that lie within another one: nftables takes no overlaps. */
function outermost(cidrs: readonly string[]): string[] {
  const parsed = cidrs.map((cidr) => {
    const [address, length] = ipaddr.parseCIDR(cidr);
    const network =
      address.kind() === "ipv4" ? ipaddr.IPv4.networkAddressFromCIDR(cidr) : ipaddr.IPv6.networkAddressFromCIDR(cidr);
    return { network, length };
  });
  const widest = parsed.sort((a, b) => a.length - b.length);
  const kept: typeof widest = [];
  for (const one of widest) {
    if (!kept.some(({ network, length }) => one.network.match(network, length))) kept.push(one);
  }
  return kept.map(({ network, length }) => `${network.toString()}/${length}`);
}

function sourceView({ vip, family, transport, members }: IpvsService, spec: AmphoraSpec, mark: string): SourceView {
  const bySource = Map.groupBy(members, ({ address }) => sourceFor(address, vip, spec));
  return {
    family: family === 4 ? "ip" : "ip6",
    vip,
    protocol: transport.toLowerCase(),
    mark,
    seen: [...bySource].map(([from, some]) => ({
      from,
      members: some.map(({ address, protocol_port: port }) => ({ address, port })),
    })),
  };
}

/**
 * A member that is reached by the interface of the VIP, on its subnet or through a router there, sees connections from
 * the VIP, which outlives this amphora. An answer to it might take another way from elsewhere: members behind other
 * interfaces see an address that is there with the VIPs, if there is one, or else the amphora's own. So does every member
 * of a load balancer with replicas: any of those would get an answer that was sent to the VIP.
 * @returns null: the amphora's own
 */
function sourceFor(member: string, vip: string, { interfaces, replicas }: AmphoraSpec): string | null {
  if (replicas !== null) return null;
  const way = wayTo(member, interfaces);
  if (isOnSubnet(vip, interfaces) && way === interfaceOf(vip, interfaces)) return vip;
  return way?.shared_addresses.find((address) => familyOf(address) === familyOf(vip)) ?? null;
}

function limitView(listener: ListenerSpec, spec: AmphoraSpec, mark: string): LimitView {
  return {
    table: `amphora-limit-${listener.id}`,
    mark,
    limit: listener.connection_limit,
    idle: listener.protocol === "UDP" ? spec.lvs_udp_timeout : spec.lvs_tcp_timeout,
    refusal: refusalOf(listener),
    tcp: listener.protocol === "FORWARD_TCP",
  };
}
