/** What of a spec the kernel serves (IPVS), and how: the one place that keepalived, nftables and the agent read. */
import { isIPv6 } from "node:net";
import ipaddr from "ipaddr.js";
import { type IpvsProtocol, isIpvs, TRANSPORTS } from "./fields.ts";
import type { AmphoraSpec, HealthMonitorSpec, ListenerSpec, MemberSpec, PoolSpec } from "./spec.ts";

export type IpvsTransport = (typeof TRANSPORTS)[IpvsProtocol];

/** How a connection's member is chosen (ipvsadm(8), -s and -b). */
export interface Scheduler {
  readonly name: "wrr" | "wlc" | "mh";
  readonly flags: readonly ("mh-fallback" | "mh-port")[];
}

/** Clients that come back to the same member. */
export interface Persistence {
  /** seconds that a client without connections is remembered */
  readonly timeout: number;
  /** an IPv4 netmask or an IPv6 prefix length: how much of an address is one client; null: all of it */
  readonly granularity: string | null;
}

/** One virtual service: a listener at one of the VIPs. IPVS can't translate between IPv4 and IPv6. */
export interface IpvsService {
  readonly listener: ListenerSpec;
  readonly pool: PoolSpec;
  readonly vip: string;
  readonly family: 4 | 6;
  readonly transport: IpvsTransport;
  readonly port: number;
  readonly scheduler: Scheduler;
  readonly persistence: Persistence | null;
  /** those of the pool that have an address of the VIP's family */
  readonly members: readonly MemberSpec[];
}

/** Fallback: without it, a client whose member by hash is drained gets no other (ip_vs_mh.c, ip_vs_mh_get). */
const SCHEDULERS: Readonly<Record<PoolSpec["lb_algorithm"], Scheduler>> = {
  ROUND_ROBIN: { name: "wrr", flags: [] },
  LEAST_CONNECTIONS: { name: "wlc", flags: [] },
  SOURCE_IP: { name: "mh", flags: ["mh-fallback"] },
  SOURCE_IP_PORT: { name: "mh", flags: ["mh-fallback", "mh-port"] },
};

/** Listeners that are to be served by IPVS, whether or not there is anything behind them. */
export function ipvsListeners(spec: AmphoraSpec): (ListenerSpec & { readonly protocol: IpvsProtocol })[] {
  if (!spec.admin_state_up) return [];
  return spec.listeners.flatMap((listener) => {
    const { protocol } = listener;
    return listener.admin_state_up && isIpvs(protocol) ? [{ ...listener, protocol }] : [];
  });
}

/** Every virtual service of a spec. A listener without members has none: nothing answers at its port. */
export function ipvsServices(spec: AmphoraSpec): IpvsService[] {
  const pools = new Map(spec.pools.filter((pool) => pool.admin_state_up).map((pool) => [pool.id, pool]));
  return ipvsListeners(spec).flatMap((listener) => {
    const pool = listener.default_pool_id === null ? undefined : pools.get(listener.default_pool_id);
    if (pool === undefined) return [];
    return spec.vips.flatMap((vip) => {
      const family = familyOf(vip);
      const members = pool.members.filter(({ address }) => familyOf(address) === family);
      if (members.length === 0) return [];
      const service: IpvsService = {
        listener,
        pool,
        vip: ipaddr.parse(vip).toString(),
        family,
        transport: TRANSPORTS[listener.protocol],
        port: listener.protocol_port,
        scheduler: SCHEDULERS[pool.lb_algorithm],
        persistence: persistenceOf(pool, family),
        members,
      };
      return [service];
    });
  });
}

/**
 * A number of each IPVS listener, by its id: the conntrack mark of its connections, by which the kernel picks them out
 * of a dump. It comes from the id, so that it stays when other listeners come and go.
 */
export function marksOf(spec: AmphoraSpec): Map<string, number> {
  const ids = spec.listeners.filter(({ protocol }) => isIpvs(protocol)).map(({ id }) => id);
  const marks = new Map<string, number>();
  const taken = new Set<number>([0]);
  for (const id of ids.sort()) {
    let mark = Number.parseInt(id.slice(0, 8), 16) ^ Number.parseInt(id.slice(-8), 16);
    mark >>>= 0;
    while (taken.has(mark)) mark = (mark + 1) >>> 0;
    taken.add(mark);
    marks.set(id, mark);
  }
  return marks;
}

/** The weight that a member has while it is up. A disabled one keeps the connections it has, as one of weight 0 does. */
export function weightOf(member: MemberSpec): number {
  // the agent gives backup members their weight when every other one is down
  return member.admin_state_up && !member.backup ? member.weight : 0;
}

/** The monitor that members of a pool are put to; null when there is none, or it is switched off. */
export function monitorOf(pool: PoolSpec): HealthMonitorSpec | null {
  return pool.health_monitor?.admin_state_up ? pool.health_monitor : null;
}

/** Whether a service's member is checked: a disabled one is not. */
export function isChecked({ pool }: IpvsService, member: MemberSpec): boolean {
  return member.admin_state_up && monitorOf(pool) !== null;
}

export function familyOf(address: string): 4 | 6 {
  return isIPv6(address) ? 6 : 4;
}

function persistenceOf(pool: PoolSpec, family: 4 | 6): Persistence | null {
  const wanted = pool.session_persistence;
  if (wanted === null) return null;
  const given = wanted.persistence_granularity;
  const applies = given !== null && given.includes(".") === (family === 4);
  return { timeout: wanted.persistence_timeout, granularity: applies ? given : null };
}
