/** What is known of amphorae that speak, and what follows from it for the store: statuses, counters, work. */
import type { Logger } from "pino";
import type { Counters, HealthReport, Heartbeat } from "../../agent/protocol.ts";
import type { AgentClient } from "../amphorae/client.ts";
import { type Amphora, amphora } from "../model/amphora.ts";
import { loadBalancer } from "../model/load-balancer.ts";
import type { Store, Trx } from "../store/database.ts";
import { makeDue } from "../store/load-balancers.ts";
import { findRow, selectRows, untyped } from "../store/rows.ts";
import type { Settling } from "../store/settling.ts";
import type { StatisticsRow } from "../store/tables.ts";
import { loadTree } from "../store/tree.ts";
import { type Statuses, statusesOf } from "./status.ts";

/** Counters are written together, at most so often (ms). */
const FLUSH_INTERVAL = 1000;
/** An amphora that has been silent for so many of its intervals says nothing about its members any more. */
const SILENT_INTERVALS = 4;

export interface HealthOptions {
  readonly store: Store;
  readonly client: AgentClient;
  readonly settling: Settling;
  readonly heartbeatIntervalMs: number;
  /** called with the id of an amphora that speaks, but is no longer in the store */
  readonly onZombie: (amphoraId: string) => void;
  readonly log: Logger;
}

interface Seen {
  at: number;
  digest: string;
  report: HealthReport | null;
  loadBalancerId: string | null;
  /** the digest that it last named */
  wanted: string;
  fetching: boolean;
}

const UNSEEN: Seen = { at: 0, digest: "", report: null, loadBalancerId: null, wanted: "", fetching: false };

export class Health {
  readonly #options: HealthOptions;
  readonly #seen = new Map<string, Seen>();
  /** counters that came in since they were last written */
  #counters = new Map<string, StatisticsRow>();
  /** what was last heard of each, to pass over what did not change */
  readonly #lastCounters = new Map<string, string>();
  #timer: NodeJS.Timeout | null = null;
  #flushing: Promise<void> = Promise.resolve();

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** Begins to write, and expects to hear of every amphora there is: one that stays silent is noticed. */
  async start(): Promise<void> {
    const rows = await this.#options.store.db.selectFrom("amphorae").select(["id", "loadbalancer_id"]).execute();
    for (const { id, loadbalancer_id } of rows) {
      this.#seen.set(id, { ...UNSEEN, at: Date.now(), loadBalancerId: loadbalancer_id });
    }
    this.#timer = setInterval(() => {
      this.#flushing = this.#flush();
    }, FLUSH_INTERVAL);
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#flushing;
  }

  /** The seal's key of an amphora; null when there is no such one. */
  async keyOf(amphoraId: string): Promise<Buffer | null> {
    const row = await findRow(this.#options.store.db, amphora, amphoraId);
    return row === undefined ? null : Buffer.from(row.heartbeat_key, "hex");
  }

  /** Takes in a heartbeat that is believed. */
  heard({ amphoraId, body }: Heartbeat): void {
    const { log } = this.#options;
    const seen = this.#seen.get(amphoraId) ?? { ...UNSEEN };
    this.#seen.set(amphoraId, seen);
    seen.at = Date.now();
    for (const [id, active, total, bytesIn, bytesOut, errors] of body.stats ?? []) {
      this.#count(amphoraId, id, {
        active_connections: active,
        total_connections: total,
        bytes_in: bytesIn,
        bytes_out: bytesOut,
        request_errors: errors,
      });
    }
    seen.wanted = body.digest;
    if (seen.digest === seen.wanted || seen.fetching) return;
    seen.fetching = true;
    this.#fetch(amphoraId, seen)
      .catch((error: unknown) => log.warn({ amphora: amphoraId, err: error }, "fetching a health report failed"))
      .finally(() => {
        seen.fetching = false;
      });
  }

  /** Fetches reports until one belongs to the digest that the amphora last named. */
  async #fetch(amphoraId: string, seen: Seen): Promise<void> {
    const { store, client, settling, onZombie } = this.#options;
    while (seen.digest !== seen.wanted) {
      const row = await findRow(store.db, amphora, amphoraId);
      if (row === undefined) {
        this.#seen.delete(amphoraId);
        onZombie(amphoraId);
        return;
      }
      const digest = seen.wanted;
      const report = await client.health({ amphoraId, address: row.lb_network_ip ?? "" });
      Object.assign(seen, { report, digest, loadBalancerId: row.loadbalancer_id });
      await this.#write(row.loadbalancer_id);
      if (await this.#lagsBehind(row, report)) {
        await makeDue(store, [row.loadbalancer_id]);
        settling.wake();
      }
    }
  }

  /** Whether the amphora runs something older than what was settled. */
  async #lagsBehind(row: Amphora, report: HealthReport): Promise<boolean> {
    const lb = await findRow(this.#options.store.db, loadBalancer, row.loadbalancer_id);
    return lb?.provisioning_status === "ACTIVE" && row.status === "ALLOCATED" && report.revision < lb.revision;
  }

  /** Works the statuses of a load balancer out, and writes those that changed. */
  async #write(loadBalancerId: string): Promise<void> {
    const { store } = this.#options;
    const present = await store.snapshot(async (trx) => {
      const row = await findRow(trx, loadBalancer, loadBalancerId);
      if (row === undefined) return null;
      return { tree: await loadTree(trx, row), amphorae: await selectRows(trx, amphora, { loadbalancer_id: row.id }) };
    });
    if (present === null) return;
    const silentSince = Date.now() - this.#options.heartbeatIntervalMs * SILENT_INTERVALS;
    const reports = present.amphorae.flatMap(({ id }) => {
      const seen = this.#seen.get(id);
      return seen?.report && seen.at > silentSince ? [seen.report] : [];
    });
    const statuses = statusesOf(present.tree, reports);
    const { tree } = present;
    const now = new Map<string, string>([
      [tree.loadBalancer.id, tree.loadBalancer.operating_status],
      ...tree.listeners.map((each): [string, string] => [each.id, each.operating_status]),
      ...tree.pools.flatMap(({ pool, members, healthMonitor }): [string, string][] =>
        [pool, ...members, ...(healthMonitor === null ? [] : [healthMonitor])].map((each) => [
          each.id,
          each.operating_status,
        ]),
      ),
    ]);
    await store.transaction((trx) => writeStatuses(trx, statuses, now));
  }

  #count(amphoraId: string, listenerId: string, counters: Counters): void {
    const key = `${amphoraId} ${listenerId}`;
    const text = JSON.stringify(counters);
    if (this.#lastCounters.get(key) === text) return;
    this.#lastCounters.set(key, text);
    this.#counters.set(key, { amphora_id: amphoraId, listener_id: listenerId, ...counters });
  }

  /** Writes the counters that came in since last time, and the statuses of load balancers whose amphorae fell silent. */
  async #flush(): Promise<void> {
    const { store, log, heartbeatIntervalMs } = this.#options;
    const rows = [...this.#counters.values()];
    this.#counters = new Map();
    const silentSince = Date.now() - heartbeatIntervalMs * SILENT_INTERVALS;
    const affected = new Set<string>();
    for (const [id, seen] of this.#seen) {
      if (seen.at > silentSince) continue;
      this.#seen.delete(id);
      if (seen.loadBalancerId !== null) affected.add(seen.loadBalancerId);
    }
    try {
      if (rows.length > 0) await store.transaction((trx) => writeCounters(trx, rows));
      for (const id of affected) await this.#write(id);
    } catch (error) {
      log.warn({ err: error }, "writing what heartbeats said failed");
    }
  }
}

async function writeStatuses(trx: Trx, statuses: Statuses, now: ReadonlyMap<string, string>): Promise<void> {
  for (const [table, wanted] of Object.entries(statuses) as [string, Statuses[keyof Statuses]][]) {
    const changed = [...wanted].filter(([id, status]) => now.get(id) !== status);
    for (const [status, entries] of Map.groupBy(changed, ([, each]) => each)) {
      const ids = entries.map(([id]) => id);
      await untyped(trx).updateTable(table).set({ operating_status: status }).where("id", "in", ids).execute();
    }
  }
}

/** Counters of listeners that are still there. */
async function writeCounters(trx: Trx, rows: readonly StatisticsRow[]): Promise<void> {
  const ids = [...new Set(rows.map((row) => row.listener_id))];
  const there = await trx.selectFrom("listeners").select("id").where("id", "in", ids).execute();
  const known = new Set(there.map((row) => row.id));
  const values = rows.filter((row) => known.has(row.listener_id));
  if (values.length === 0) return;
  await trx
    .insertInto("listener_statistics")
    .values(values)
    .onConflict((conflict) =>
      conflict.columns(["listener_id", "amphora_id"]).doUpdateSet((eb) => ({
        active_connections: eb.ref("excluded.active_connections"),
        total_connections: eb.ref("excluded.total_connections"),
        bytes_in: eb.ref("excluded.bytes_in"),
        bytes_out: eb.ref("excluded.bytes_out"),
        request_errors: eb.ref("excluded.request_errors"),
      })),
    )
    .execute();
}
