/** What the HAProxy templates show: the decisions are made here, the templates only write them down. */
import { isIPv6 } from "node:net";
import { loadTemplate } from "./engine.ts";
import type { Layout } from "./layout.ts";
import type { AmphoraSpec, HealthMonitorSpec, ListenerSpec, MemberSpec, PoolSpec } from "./spec.ts";

const ALGORITHMS: Record<PoolSpec["lb_algorithm"], string> = {
  ROUND_ROBIN: "roundrobin",
  LEAST_CONNECTIONS: "leastconn",
  SOURCE_IP: "source",
  SOURCE_IP_PORT: "hash src,concat(:,sess.src_port)",
};

interface ServerView {
  name: string;
  address: string;
  weight: number;
  check: string | null;
  backup: boolean;
  disabled: boolean;
}

interface CheckView {
  inter: number;
  timeout: number;
  rise: number;
  fall: number;
  http: { method: string; path: string; version: string; host: string | null; codes: string } | null;
}

interface BackendView {
  name: string;
  mode: string;
  http: boolean;
  balance: string;
  consistent: boolean;
  connectTimeout: number;
  serverTimeout: number;
  check: CheckView | null;
  servers: ServerView[];
}

interface FrontendView {
  name: string;
  mode: string;
  http: boolean;
  binds: string[];
  maxconn: number | null;
  clientTimeout: number;
  inspectDelay: number | null;
  /** a variable, for the hash: a converter takes no second sample */
  keepsSourcePort: boolean;
  backend: string | null;
}

interface HaproxyView {
  layout: Layout;
  frontends: FrontendView[];
  backends: BackendView[];
}

const template = loadTemplate<HaproxyView>("haproxy", "haproxy.cfg", ["frontend", "backend"]);

/** The text of haproxy.cfg. */
export function renderHaproxy(spec: AmphoraSpec, layout: Layout): string {
  const frontends = activeListeners(spec).map((listener) => frontendView(spec, listener));
  const backends = [...backendsOf(spec)].map(([name, { pool, listener }]) => backendView(spec, name, pool, listener));
  return template({ layout, frontends, backends });
}

/** Every address and port that a spec listens on. */
export function bindsOf(spec: AmphoraSpec): { readonly address: string; readonly port: number }[] {
  return activeListeners(spec).flatMap(({ protocol_port: port }) => spec.vips.map((address) => ({ address, port })));
}

function activeListeners(spec: AmphoraSpec): ListenerSpec[] {
  return spec.admin_state_up ? spec.listeners.filter((listener) => listener.admin_state_up) : [];
}

/**
 * The name of the backend that serves a pool to a listener. The time-outs towards members belong to the listener, so a
 * pool has one backend per pair of them; listeners that agree share it, and its members are checked once.
 */
export function backendName(pool: PoolSpec, listener: ListenerSpec): string {
  return `${pool.id}:${listener.timeout_member_connect}:${listener.timeout_member_data}`;
}

/** The pool that a backend's name speaks of. */
export function poolOfBackend(name: string): string {
  return name.split(":", 1)[0] ?? name;
}

function frontendView(spec: AmphoraSpec, listener: ListenerSpec): FrontendView {
  const pool = spec.pools.find((each) => each.id === listener.default_pool_id && each.admin_state_up);
  return {
    name: listener.id,
    mode: mode(listener.protocol),
    http: listener.protocol === "HTTP",
    binds: spec.vips.map((vip) => endpoint(vip, listener.protocol_port)),
    maxconn: listener.connection_limit > 0 ? listener.connection_limit : null,
    clientTimeout: listener.timeout_client_data,
    inspectDelay: listener.timeout_tcp_inspect > 0 ? listener.timeout_tcp_inspect : null,
    keepsSourcePort: pool?.lb_algorithm === "SOURCE_IP_PORT",
    backend: pool === undefined ? null : backendName(pool, listener),
  };
}

/** Every backend that a spec makes: its name, and the pool and listener it stands for. */
export function backendsOf(spec: AmphoraSpec): Map<string, { pool: PoolSpec; listener: ListenerSpec }> {
  const pools = new Map(spec.pools.filter((pool) => pool.admin_state_up).map((pool) => [pool.id, pool]));
  const found = new Map<string, { pool: PoolSpec; listener: ListenerSpec }>();
  for (const listener of activeListeners(spec)) {
    const pool = listener.default_pool_id === null ? undefined : pools.get(listener.default_pool_id);
    if (pool !== undefined) found.set(backendName(pool, listener), { pool, listener });
  }
  return found;
}

function backendView(spec: AmphoraSpec, name: string, pool: PoolSpec, listener: ListenerSpec): BackendView {
  const monitor = pool.health_monitor?.admin_state_up ? pool.health_monitor : null;
  return {
    name,
    mode: mode(pool.protocol),
    http: pool.protocol === "HTTP",
    balance: ALGORITHMS[pool.lb_algorithm],
    // only a consistent hash takes weights that change at run time (manual, "hash-type")
    consistent: pool.lb_algorithm === "SOURCE_IP" || pool.lb_algorithm === "SOURCE_IP_PORT",
    connectTimeout: listener.timeout_member_connect,
    serverTimeout: listener.timeout_member_data,
    check: monitor === null ? null : checkView(monitor, spec.vips[0] ?? null),
    servers: pool.members.map((member) => serverView(member, monitor)),
  };
}

/** @param vip what an HTTP/1.1 check calls the host that has no name: servers refuse a request without (RFC 9112, 3.2) */
function checkView(monitor: HealthMonitorSpec, vip: string | null): CheckView {
  const unnamed = monitor.http_version === 1.1 && vip !== null ? bracketed(vip) : null;
  return {
    inter: monitor.delay,
    timeout: monitor.timeout,
    rise: monitor.max_retries,
    fall: monitor.max_retries_down,
    http:
      monitor.type === "HTTP"
        ? {
            method: monitor.http_method,
            path: monitor.url_path,
            version: `HTTP/${monitor.http_version.toFixed(1)}`,
            host: monitor.domain_name ?? unnamed,
            codes: monitor.expected_codes,
          }
        : null,
  };
}

function serverView(member: MemberSpec, monitor: HealthMonitorSpec | null): ServerView {
  return {
    name: member.id,
    address: endpoint(member.address, member.protocol_port),
    weight: member.weight,
    check: monitor === null ? null : checkTarget(member),
    backup: member.backup,
    disabled: !member.admin_state_up,
  };
}

function checkTarget(member: MemberSpec): string {
  const address = member.monitor_address === null ? "" : ` addr ${bracketed(member.monitor_address)}`;
  const port = member.monitor_port === null ? "" : ` port ${member.monitor_port}`;
  return `check${address}${port}`;
}

function mode(protocol: string): string {
  return protocol === "HTTP" ? "http" : "tcp";
}

function endpoint(address: string, port: number): string {
  return `${bracketed(address)}:${port}`;
}

/** Without brackets HAProxy takes the last part of an IPv6 address for a port. */
function bracketed(address: string): string {
  return isIPv6(address) ? `[${address}]` : address;
}
