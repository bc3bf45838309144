/** What the agent reports of the listeners that IPVS serves, worked out from the kernel's table and the spec. */
import ipaddr from "ipaddr.js";
import { type IpvsService, ipvsListeners, ipvsServices, monitorOf } from "../templates/ipvs.ts";
import type { AmphoraSpec, MemberSpec } from "../templates/spec.ts";
import type { StatRow } from "./dataplane/haproxy-stats.ts";
import type { IpvsState } from "./dataplane/ipvs.ts";
import { type Destination, serviceKey, type TableService } from "./dataplane/ipvs-table.ts";
import type { HealthReport, ListenerState, MemberState } from "./protocol.ts";

/**
 * Completes a report by what IPVS serves. A pool may stand behind several services: a member that one of them lacks is
 * down.
 * @param table null when the kernel did not answer
 */
export function addIpvsHealth(report: HealthReport, spec: AmphoraSpec, table: readonly TableService[] | null): void {
  const actual = new Map((table ?? []).map((service) => [serviceKey(service), service]));
  for (const { id } of ipvsListeners(spec)) report.listeners[id] = table === null ? "DOWN" : "OPEN";
  if (table === null) return;
  for (const service of ipvsServices(spec)) {
    const { listener, pool } = service;
    const found = actual.get(serviceKey(service));
    if (found === undefined) {
      report.listeners[listener.id] = "DOWN";
      continue;
    }
    if (report.listeners[listener.id] === "OPEN") report.listeners[listener.id] = listenerState(service, found);
    const states = report.pools[pool.id] ?? {};
    report.pools[pool.id] = states;
    for (const member of service.members) {
      if (states[member.id] !== "DOWN") states[member.id] = memberState(service, member, found);
    }
  }
}

function listenerState({ listener }: IpvsService, found: TableService): ListenerState {
  const limit = listener.connection_limit;
  return limit > 0 && openConnections(found) >= limit ? "FULL" : "OPEN";
}

function memberState({ pool }: IpvsService, member: MemberSpec, found: TableService): MemberState {
  if (!member.admin_state_up) return "MAINT";
  if (destinationOf(found, member.address, member.protocol_port) === undefined) return "DOWN";
  if (member.weight === 0) return "DRAIN";
  return monitorOf(pool) === null ? "NO_CHECK" : "UP";
}

/** Where a service forwards to one member; undefined when it does not. */
function destinationOf(service: TableService, address: string, port: number): Destination | undefined {
  const wanted = ipaddr.parse(address).toString();
  return service.destinations.find((each) => each.address === wanted && each.port === port);
}

/** What IPVS calls active are established TCP and SCTP connections. It knows of no state of a UDP flow. */
function openConnections({ transport, destinations }: TableService): number {
  return destinations.reduce((sum, { active, inactive }) => sum + active + (transport === "UDP" ? inactive : 0), 0);
}

/** Counters of each service, in the shape of a worker's: a service that is made anew begins at 0, as a worker does. */
export function ipvsCounters(spec: AmphoraSpec, { table, traffic }: IpvsState): Map<string, StatRow[]> {
  const rows = new Map<string, StatRow[]>();
  const actual = new Map(table.map((service) => [serviceKey(service), service]));
  for (const service of ipvsServices(spec)) {
    const key = serviceKey(service);
    const [found, counted] = [actual.get(key), traffic.get(key)];
    if (found === undefined || counted === undefined) continue;
    const counters = {
      active_connections: openConnections(found),
      total_connections: counted.connections,
      bytes_in: counted.bytesIn,
      bytes_out: counted.bytesOut,
      request_errors: 0,
    };
    rows.set(key, [{ proxy: service.listener.id, server: "FRONTEND", status: "OPEN", sessionLimit: 0, counters }]);
  }
  return rows;
}
