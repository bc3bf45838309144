/** What a pool becomes for the listeners that share it: how a member is chosen, kept, spoken to and checked. */
import type { AmphoraSpec, MemberSpec, PoolSpec } from "../spec.ts";
import { activeMonitor, bracketed, type CheckView, checkDefaults, checkView, isChecked } from "./check.ts";
import { type BackendOf, backendMode, backendsOf, type Mode, serverNumbers } from "./names.ts";
import { serverWords } from "./tls.ts";

const ALGORITHMS: Record<PoolSpec["lb_algorithm"], string> = {
  ROUND_ROBIN: "roundrobin",
  LEAST_CONNECTIONS: "leastconn",
  SOURCE_IP: "source",
  SOURCE_IP_PORT: "hash src,concat(:,sess.src_port)",
};

/** What can change while a worker serves, each by its own command, and the rest. */
export interface ServerView {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly disabled: boolean;
  /** the words that stay as long as the server does */
  readonly options: string;
}

export interface BackendView {
  readonly name: string;
  readonly mode: Mode;
  readonly http: boolean;
  readonly balance: string;
  readonly consistent: boolean;
  readonly cookieKey: string | null;
  readonly stick: StickView | null;
  readonly connectTimeout: number;
  readonly serverTimeout: number;
  readonly check: CheckView | null;
  /** whether the agent pings the members */
  readonly pinged: boolean;
  /** words that every server has */
  readonly defaults: string | null;
  readonly servers: readonly ServerView[];
}

interface StickView {
  /** the type of its keys */
  readonly table: string;
  readonly rules: readonly { readonly when: string; readonly key: string }[];
}

export function backendViews(spec: AmphoraSpec): BackendView[] {
  return [...backendsOf(spec)].map(([name, found]) => backendView(spec, name, found));
}

function backendView(spec: AmphoraSpec, name: string, { pool, listener }: BackendOf): BackendView {
  const mode = backendMode(pool, listener);
  const http = mode === "http";
  const numbers = serverNumbers(pool.members);
  const defaults = [
    ...checkDefaults(pool),
    ...(pool.tls === null ? [] : serverWords(pool, pool.tls)),
    ...(pool.protocol === "PROXY" ? ["send-proxy"] : []),
    ...(pool.protocol === "PROXYV2" ? ["send-proxy-v2"] : []),
  ];
  return {
    name,
    mode,
    http,
    balance: ALGORITHMS[pool.lb_algorithm],
    // only a consistent hash takes members and weights that change at run time (manual, "hash-type")
    consistent: pool.lb_algorithm === "SOURCE_IP" || pool.lb_algorithm === "SOURCE_IP_PORT",
    cookieKey: http && pool.session_persistence?.type === "HTTP_COOKIE" ? pool.id : null,
    stick: stickView(pool, http),
    connectTimeout: listener.timeout_member_connect,
    serverTimeout: listener.timeout_member_data,
    check: checkView(pool, spec.vips[0] ?? null),
    pinged: activeMonitor(pool)?.type === "PING",
    defaults: defaults.length > 0 ? defaults.join(" ") : null,
    servers: pool.members.map((member) => serverView(member, numbers.get(member.id) ?? 0, isChecked(pool))),
  };
}

function serverView(member: MemberSpec, number: number, checked: boolean): ServerView {
  return {
    name: member.id,
    address: bracketed(member.address),
    port: member.protocol_port,
    weight: member.weight,
    disabled: !member.admin_state_up,
    options: `id ${number}${checked ? checkTarget(member) : ""}${member.backup ? " backup" : ""}`,
  };
}

function checkTarget(member: MemberSpec): string {
  const address = member.monitor_address === null ? "" : ` addr ${bracketed(member.monitor_address)}`;
  const port = member.monitor_port === null ? "" : ` port ${member.monitor_port}`;
  return ` check${address}${port}`;
}

/**
 * Tables of which client is at which member. An application's cookie is kept as its digest alone: it may be long, and
 * is the client's secret.
 */
function stickView({ session_persistence: persistence }: PoolSpec, http: boolean): StickView | null {
  if (persistence?.type === "SOURCE_IP") return { table: "ipv6", rules: [{ when: "on", key: "src" }] };
  if (persistence?.type !== "APP_COOKIE" || !http) return null;
  const cookie = (direction: string) => `${direction}.cook("${persistence.cookie_name ?? ""}"),sha2(256)`;
  return {
    table: "binary len 32",
    rules: [
      { when: "store-response", key: cookie("res") },
      { when: "match", key: cookie("req") },
    ],
  };
}
