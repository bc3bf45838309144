/** Connections that IPVS forwards, out of the kernel's connection table. */
import ipaddr from "ipaddr.js";
import { TRANSPORTS } from "../../templates/fields.ts";
import { ipvsListeners, ipvsServices, marksOf } from "../../templates/ipvs.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { entries, lastPacket, type StateTimeouts, stateTimeouts } from "../dataplane/conntrack.ts";
import type { Entry } from "../dataplane/conntrack-entry.ts";
import {
  CONNECTION_FILTERS,
  type Connection,
  type ConnectionField,
  type ConnectionFilter,
  matches,
  timeText,
} from "./protocol.ts";

/** Makes connections of entries: one for each spec, because what it looks up is the spec's. */
export class Forwarded {
  readonly #amphoraId: string;
  readonly #listeners: ReadonlyMap<number, string>;
  readonly #members: ReadonlyMap<string, { readonly pool: string; readonly member: string }>;

  constructor(spec: AmphoraSpec) {
    const marks = marksOf(spec);
    this.#amphoraId = spec.amphora_id;
    this.#listeners = new Map(ipvsListeners(spec).map(({ id }) => [marks.get(id) ?? 0, id]));
    this.#members = new Map(
      ipvsServices(spec).flatMap(({ listener, pool, members }) =>
        members.map(({ id, address, protocol_port }) => [
          `${listener.id} ${ipaddr.parse(address).toString()} ${protocol_port}`,
          { pool: pool.id, member: id },
        ]),
      ),
    );
  }

  /** The marks of a listener's connections: one, or none when it is not IPVS's. */
  markOf(listenerId: string): number | null {
    return [...this.#listeners].find(([, id]) => id === listenerId)?.[0] ?? null;
  }

  /** Null for an entry that belongs to no listener. */
  connectionOf(entry: Entry, active: number | null): Connection | null {
    const listener = this.#listeners.get(entry.mark);
    const { original, reply, protocol } = entry;
    if (listener === undefined || (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp")) return null;
    const target = this.#members.get(`${listener} ${reply.src} ${reply.sport}`);
    return {
      id: `${entry.family}-${entry.id.padStart(10, "0")}`,
      amphora_id: this.#amphoraId,
      listener_id: listener,
      pool_id: target?.pool ?? null,
      member_id: target?.member ?? null,
      ip_version: entry.family === 4 ? "ipv4" : "ipv6",
      protocol,
      status: entry.stop === null ? statusOf(entry) : "CLOSED",
      client_src_ip: original.src,
      client_src_port: original.sport,
      client_dst_ip: original.dst,
      client_dst_port: original.dport,
      forward_src_ip: reply.dst,
      forward_src_port: reply.dport,
      forward_dst_ip: reply.src,
      forward_dst_port: reply.sport,
      start_time: entry.start === null ? null : timeText(entry.start),
      // the kernel tells of idle times in whole seconds
      active_time: active === null ? null : timeText(Math.max(active, entry.start ?? active)),
      end_time: entry.stop === null ? null : timeText(entry.stop),
      bytes_in: original.bytes,
      bytes_out: reply.bytes,
      packets_in: original.packets,
      packets_out: reply.packets,
    };
  }
}

function statusOf({ state, replied }: Entry): string {
  return state ?? (replied ? "REPLIED" : "UNREPLIED");
}

/**
 * A listener's connections that match, a batch at a time.
 * @throws {CommandError} when the kernel can't be read
 */
export async function* forwardedConnections(
  namespace: string,
  spec: AmphoraSpec,
  listenerId: string,
  filter: ConnectionFilter,
): AsyncGenerator<Connection[]> {
  const forwarded = new Forwarded(spec);
  const mark = forwarded.markOf(listenerId);
  if (mark === null) return;
  const timeouts = await stateTimeouts(namespace);
  const words = wordsOf(filter, transportOf(spec, listenerId));
  for (const family of familiesOf(spec, filter)) {
    for await (const batch of entries(namespace, { mark, family, words })) {
      yield connectionsIn(batch, forwarded, filter, timeouts);
    }
  }
}

function transportOf({ listeners }: AmphoraSpec, id: string): string {
  const protocol = listeners.find((each) => each.id === id)?.protocol ?? "FORWARD_TCP";
  return TRANSPORTS[protocol].toLowerCase();
}

function connectionsIn(
  batch: readonly Entry[],
  forwarded: Forwarded,
  filter: ConnectionFilter,
  timeouts: StateTimeouts,
): Connection[] {
  const now = Date.now();
  return batch.flatMap((entry) => {
    const one = forwarded.connectionOf(entry, lastPacket(entry, timeouts, now));
    return one !== null && matches(filter, one) ? [one] : [];
  });
}

function familiesOf({ vips }: AmphoraSpec, filter: ConnectionFilter): (4 | 6)[] {
  const asked = Object.values(filter).flatMap(({ family }) => family ?? []);
  return ([4, 6] as const).filter(
    (family) => vips.some((vip) => vip.includes(":") === (family === 6)) && asked.every((each) => each === family),
  );
}

/** The options of conntrack(8) for what a filter allows exactly one value of. */
const OPTIONS = {
  client_src_ip: "--orig-src",
  client_src_port: "--orig-port-src",
  client_dst_ip: "--orig-dst",
  client_dst_port: "--orig-port-dst",
  forward_src_ip: "--reply-dst",
  forward_src_port: "--reply-port-dst",
  forward_dst_ip: "--reply-src",
  forward_dst_port: "--reply-port-src",
} as const satisfies Record<ConnectionField, string>;

/** @param protocol ports mean nothing to the command without one */
function wordsOf(filter: ConnectionFilter, protocol: string): string[] {
  const words = CONNECTION_FILTERS.flatMap((field) => {
    const exact = filter[field]?.exact ?? null;
    return exact === null ? [] : [OPTIONS[field], exact];
  });
  return ["-p", protocol, ...words];
}
