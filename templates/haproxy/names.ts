/** Which backends a spec makes, and what things are called. */
import { isHttp, isIpvs } from "../fields.ts";
import type { AmphoraSpec, L7PolicySpec, L7RuleSpec, ListenerSpec, MemberSpec, PoolSpec } from "../spec.ts";

export type Mode = "http" | "tcp";

/** A pool as one listener sees it. */
export interface BackendOf {
  readonly pool: PoolSpec;
  readonly listener: ListenerSpec;
}

/** The listeners that HAProxy serves. */
export function activeListeners(spec: AmphoraSpec): ListenerSpec[] {
  if (!spec.admin_state_up) return [];
  return spec.listeners.filter(({ admin_state_up, protocol }) => admin_state_up && !isIpvs(protocol));
}

/** The policies of a listener that can match: those that are up, and have a rule that is up. */
export function activePolicies(listener: ListenerSpec): L7PolicySpec[] {
  return listener.l7policies.filter((policy) => policy.admin_state_up && activeRules(policy).length > 0);
}

export function activeRules(policy: L7PolicySpec): L7RuleSpec[] {
  return policy.rules.filter((rule) => rule.admin_state_up);
}

/**
 * Whether requests are understood on the way to a pool. A pool that speaks PROXY is whatever its listener is; an HTTP
 * pool behind a TCP listener is HTTP: HAProxy turns the connection into requests when it enters the backend.
 */
export function backendMode(pool: PoolSpec, listener: ListenerSpec): Mode {
  if (pool.protocol === "HTTP") return "http";
  const proxied = pool.protocol === "PROXY" || pool.protocol === "PROXYV2";
  return proxied && isHttp(listener.protocol) ? "http" : "tcp";
}

/**
 * The name of the backend that serves a pool to a listener. The mode and the time-outs towards members belong to the
 * listener, so a pool has one backend per set of them; listeners that agree share it, and its members are checked once.
 */
export function backendName(pool: PoolSpec, listener: ListenerSpec): string {
  const mode = backendMode(pool, listener);
  return `${pool.id}:${mode}:${listener.timeout_member_connect}:${listener.timeout_member_data}`;
}

/** The pool that a backend's name speaks of. */
export function poolOfBackend(name: string): string {
  return name.split(":", 1)[0] ?? name;
}

/** Every backend that a spec makes: its name, and the pool and listener it stands for. */
export function backendsOf(spec: AmphoraSpec): Map<string, BackendOf> {
  const pools = new Map(spec.pools.filter((pool) => pool.admin_state_up).map((pool) => [pool.id, pool]));
  const found = new Map<string, BackendOf>();
  for (const listener of activeListeners(spec)) {
    for (const id of poolsOf(listener)) {
      const pool = pools.get(id);
      if (pool !== undefined) found.set(backendName(pool, listener), { pool, listener });
    }
  }
  return found;
}

/** The pools that a listener sends connections to, disabled ones included. */
function poolsOf(listener: ListenerSpec): string[] {
  // answered by HAProxy itself, whatever else the listener holds
  if (listener.redirect_listener_id !== null || listener.protocol === "PROMETHEUS") return [];
  const targets = activePolicies(listener).map(({ action, redirect_pool_id }) =>
    action === "REDIRECT_TO_POOL" ? redirect_pool_id : null,
  );
  return [...targets, listener.default_pool_id].filter((id) => id !== null);
}

/** HAProxy multiplies a server's number by 4,096, in 32 bits, to place it on the ring of a consistent hash. */
const SERVER_NUMBERS = 2 ** 20;

/**
 * Member id -> the number of its server, from the id itself: the ring of SOURCE_IP and the entries of stick tables know
 * members by these numbers, which so stay the same when other members come and go, over reloads, and on every amphora.
 */
export function serverNumbers(members: readonly MemberSpec[]): Map<string, number> {
  const numbers = new Map<string, number>();
  const taken = new Set<number>();
  for (const { id } of members) {
    const number = hash(id);
    numbers.set(id, number);
    taken.add(number);
  }
  return taken.size === members.length ? numbers : apart([...numbers.keys()].sort());
}

/** The same, with the next free number for each id whose own is taken. The order of members makes no difference. */
function apart(ids: readonly string[]): Map<string, number> {
  const taken = new Set<number>();
  return new Map(
    ids.map((id) => {
      let number = hash(id);
      while (taken.has(number)) number = (number % (SERVER_NUMBERS - 1)) + 1;
      taken.add(number);
      return [id, number];
    }),
  );
}

/** FNV-1a, folded to 1 … 2^20 - 1. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return ((value >>> 20) ^ value) & (SERVER_NUMBERS - 1) || 1;
}
