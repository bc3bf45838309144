/** Connections that HAProxy serves, out of its sessions. */
import ipaddr from "ipaddr.js";
import { activeListeners, poolOfBackend } from "../../templates/haproxy/names.ts";
import type { AmphoraSpec, ListenerSpec } from "../../templates/spec.ts";
import type { Session } from "../dataplane/haproxy-sessions.ts";
import { type Connection, timeText } from "./protocol.ts";

/** Makes connections of a worker's sessions: one for each spec, because what it looks up is the spec's. */
export class Served {
  readonly #amphoraId: string;
  readonly #listeners: ReadonlyMap<string, ListenerSpec>;
  readonly #pools: ReadonlySet<string>;
  readonly #members: ReadonlySet<string>;

  constructor(spec: AmphoraSpec) {
    this.#amphoraId = spec.amphora_id;
    this.#listeners = new Map(activeListeners(spec).map((listener) => [listener.id, listener]));
    this.#pools = new Set(spec.pools.map(({ id }) => id));
    this.#members = new Set(spec.pools.flatMap(({ members }) => members.map(({ id }) => id)));
  }

  /** Null for a session that is no listener's. */
  connectionOf(session: Session, worker: number, now: number): Connection | null {
    const listener = this.#listeners.get(session.frontend);
    if (listener === undefined || session.listener === null) return null;
    const { client, source, target } = session;
    const pool = poolOfBackend(session.backend);
    const connected = source !== null && target !== null;
    return {
      id: `h${worker}-${session.id.padStart(10, "0")}`,
      amphora_id: this.#amphoraId,
      listener_id: listener.id,
      pool_id: this.#pools.has(pool) ? pool : null,
      member_id: this.#members.has(session.server) ? session.server : null,
      ip_version: client.address.includes(":") ? "ipv6" : "ipv4",
      protocol: "tcp",
      status: STATES[session.state ?? ""] ?? "CONNECTING",
      client_src_ip: canonical(client.address),
      client_src_port: client.port,
      client_dst_ip: canonical(session.listener.address),
      client_dst_port: session.listener.port,
      forward_src_ip: connected ? canonical(source.address) : null,
      forward_src_port: connected ? source.port : null,
      forward_dst_ip: connected ? canonical(target.address) : null,
      forward_dst_port: connected ? target.port : null,
      start_time: session.start === null ? null : timeText(session.start),
      active_time: lastActive(session, listener, now),
      end_time: null,
      bytes_in: session.bytesIn,
      bytes_out: session.bytesOut,
      packets_in: null,
      packets_out: null,
    };
  }
}

/** HAProxy's names of the states of the side of the server (stream-connector in its sources); others come before it is. */
const STATES: Readonly<Record<string, string>> = { EST: "ESTABLISHED", DIS: "CLOSING", CLO: "CLOSING" };

/** HAProxy does not say when something came last, but how long it will still wait for the next. */
function lastActive(session: Session, listener: ListenerSpec, now: number): string | null {
  const silences = [
    session.clientPatience === null ? [] : [listener.timeout_client_data - session.clientPatience],
    session.serverPatience === null ? [] : [listener.timeout_member_data - session.serverPatience],
  ]
    .flat()
    .filter((each) => each >= 0);
  return silences.length === 0 ? null : timeText(Math.max(now - Math.min(...silences), session.start ?? 0));
}

function canonical(address: string): string {
  return ipaddr.isValid(address) ? ipaddr.parse(address).toString() : address;
}
