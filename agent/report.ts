/** What the agent reports of the data plane, worked out from what HAProxy says and what the spec wants. */
import { createHash } from "node:crypto";
import { activeMonitor } from "../templates/haproxy/check.ts";
import { activeListeners } from "../templates/haproxy/names.ts";
import { poolOfBackend } from "../templates/haproxy.ts";
import type { AmphoraSpec, MemberSpec, PoolSpec } from "../templates/spec.ts";
import type { WorkerStats } from "./dataplane/haproxy.ts";
import type { StatRow } from "./dataplane/haproxy-stats.ts";
import { type Counters, type HealthReport, type ListenerState, type MemberState, NO_TRAFFIC } from "./protocol.ts";

/** @param rows of the serving worker, or null when HAProxy does not answer */
export function healthOf(spec: AmphoraSpec, rows: readonly StatRow[] | null): HealthReport {
  const report: HealthReport = { revision: spec.revision, listeners: {}, pools: {} };
  const members = new Map(spec.pools.flatMap((pool) => pool.members.map((member) => [member.id, { member, pool }])));
  for (const listener of activeListeners(spec)) report.listeners[listener.id] = "DOWN";
  for (const row of rows ?? []) {
    if (row.server === "FRONTEND") {
      if (report.listeners[row.proxy] !== undefined) report.listeners[row.proxy] = listenerState(row);
      continue;
    }
    const found = members.get(row.server);
    if (found === undefined) continue;
    const poolId = poolOfBackend(row.proxy);
    const states = report.pools[poolId] ?? {};
    report.pools[poolId] = states;
    // a pool may have several backends: a member that one of them finds down is down
    if (states[row.server] !== "DOWN") states[row.server] = memberState(row, found.member, found.pool);
  }
  return report;
}

function listenerState(row: StatRow): ListenerState {
  if (row.status !== "OPEN" && row.status !== "FULL") return "DOWN";
  return row.counters.active_connections >= row.sessionLimit ? "FULL" : "OPEN";
}

function memberState(row: StatRow, member: MemberSpec, pool: PoolSpec): MemberState {
  if (row.status.startsWith("MAINT")) return "MAINT";
  if (row.status.startsWith("DOWN")) return "DOWN";
  if (row.status.startsWith("DRAIN") || row.status.startsWith("NOLB") || member.weight === 0) return "DRAIN";
  // HAProxy does not know that the agent pings
  return row.status === "no check" && activeMonitor(pool)?.type !== "PING" ? "NO_CHECK" : "UP";
}

/** Short name of a report's content: two reports with the same digest say the same. */
export function digestOf(report: HealthReport): string {
  return createHash("sha256").update(JSON.stringify(report)).digest("hex").slice(0, 16);
}

type Totals = Record<string, Counters>;

/** What never falls as long as a worker lives. */
const GROWING = ["total_connections", "bytes_in", "bytes_out", "request_errors"] as const;

/**
 * Counters over the lives of many workers. HAProxy counts from zero in each; a reload must not make a total fall, and
 * an old worker goes on counting until its last connection ends.
 */
export class Ledger {
  #ended: Totals;
  #workers: Map<number | string, Totals>;

  constructor(saved: LedgerState = { ended: {}, workers: [] }) {
    this.#ended = structuredClone(saved.ended);
    this.#workers = new Map(structuredClone(saved.workers));
  }

  /** Takes in what each living worker counts now. Workers that are gone keep the last figures seen. */
  update(stats: WorkerStats): void {
    const now = new Map<number | string, Totals>();
    for (const [worker, rows] of stats) {
      const totals: Totals = {};
      for (const row of rows) if (row.server === "FRONTEND") totals[row.proxy] = row.counters;
      // a worker without rows lives but did not answer: it has not counted less
      now.set(worker, rows.length > 0 ? totals : (this.#workers.get(worker) ?? {}));
    }
    for (const [worker, last] of this.#workers) {
      const current = now.get(worker);
      // a known id that counts less than before is another process under the same number
      if (current === undefined || fell(last, current)) this.#end(last);
    }
    this.#workers = now;
  }

  totals(listenerId: string): Counters {
    const lives = [...this.#workers.values()].map((totals) => totals[listenerId]);
    return [this.#ended[listenerId], ...lives].reduce<Counters>(
      (sum, each) => (each === undefined ? sum : add(sum, each)),
      NO_TRAFFIC,
    );
  }

  /** Drops what is no longer a listener of this amphora. */
  keepOnly(listenerIds: ReadonlySet<string>): void {
    this.#ended = Object.fromEntries(Object.entries(this.#ended).filter(([id]) => listenerIds.has(id)));
  }

  state(): LedgerState {
    return { ended: this.#ended, workers: [...this.#workers] };
  }

  #end(totals: Totals): void {
    for (const [id, counters] of Object.entries(totals)) {
      this.#ended[id] = add(this.#ended[id] ?? NO_TRAFFIC, { ...counters, active_connections: 0 });
    }
  }
}

export interface LedgerState {
  readonly ended: Totals;
  readonly workers: [number | string, Totals][];
}

function fell(before: Totals, now: Totals): boolean {
  return Object.entries(before).some(([id, last]) => {
    const current = now[id] ?? NO_TRAFFIC;
    return GROWING.some((field) => current[field] < last[field]);
  });
}

function add(a: Counters, b: Counters): Counters {
  return {
    active_connections: a.active_connections + b.active_connections,
    total_connections: a.total_connections + b.total_connections,
    bytes_in: a.bytes_in + b.bytes_in,
    bytes_out: a.bytes_out + b.bytes_out,
    request_errors: a.request_errors + b.request_errors,
  };
}
