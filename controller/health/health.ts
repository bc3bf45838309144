/** What is known of amphorae that speak, and what follows from it for the store: statuses, counters, work. */
import type { Logger } from "pino";
import type { Counters, HealthReport, Heartbeat } from "../../agent/protocol.ts";
import type { AgentClient } from "../amphorae/client.ts";
import { type Amphora, amphora } from "../model/amphora.ts";
import { loadBalancer } from "../model/load-balancer.ts";
import type { Store, Trx } from "../store/database.ts";
import { lockLoadBalancer, makeDue } from "../store/load-balancers.ts";
import { findRow, selectRows, untyped } from "../store/rows.ts";
import type { Settling } from "../store/settling.ts";
import type { StatisticsRow } from "../store/tables.ts";
import { loadTree, type Tree } from "../store/tree.ts";
import { type Statuses, statusesOf } from "./status.ts";

/** Counters are written together, at most so often (ms). */
const FLUSH_INTERVAL = 1000;
/** An amphora that has been silent for so many of its intervals says nothing about its members any more. */
const SILENT_INTERVALS = 4;

export interface HealthOptions {
  readonly store: Store;
  readonly client: Pick<AgentClient, "health">;
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
  /** what it last said of each listener, to pass over what did not change */
  counters: ReadonlyMap<string, string>;
}

function unseen(): Seen {
  return { at: 0, digest: "", report: null, loadBalancerId: null, wanted: "", fetching: false, counters: new Map() };
}

export class Health {
  readonly #options: HealthOptions;
  readonly #seen = new Map<string, Seen>();
  /** counters that came in since they were last written */
  #counters = new Map<string, StatisticsRow>();
  #timer: NodeJS.Timeout | null = null;
  #flushing: Promise<void> | null = null;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** Begins to write, and expects to hear of every amphora there is: one that stays silent is noticed. */
  async start(): Promise<void> {
    const rows = await this.#options.store.db.selectFrom("amphorae").select(["id", "loadbalancer_id"]).execute();
    for (const { id, loadbalancer_id } of rows) {
      this.#seen.set(id, { ...unseen(), at: Date.now(), loadBalancerId: loadbalancer_id });
    }
    this.#timer = setInterval(() => {
      this.#flushing ??= this.#flush().finally(() => {
        this.#flushing = null;
      });
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
    const seen = this.#seen.get(amphoraId) ?? unseen();
    this.#seen.set(amphoraId, seen);
    seen.at = Date.now();
    if (body.stats !== undefined) seen.counters = this.#count(amphoraId, seen.counters, body.stats);
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

  /**
   * Works the statuses of a load balancer out, and writes those that changed. Locked as a change is: so what is compared
   * with is what there is, and whoever locks in this order never waits in a circle.
   */
  async #write(loadBalancerId: string): Promise<void> {
    const { store, heartbeatIntervalMs } = this.#options;
    await store.transaction(async (trx) => {
      const row = await lockLoadBalancer(store, trx, loadBalancerId);
      if (row === undefined) return;
      const tree = await loadTree(trx, row);
      const amphorae = await selectRows(trx, amphora, { loadbalancer_id: row.id });
      const silentSince = Date.now() - heartbeatIntervalMs * SILENT_INTERVALS;
      const reports = amphorae.flatMap(({ id }) => {
        const seen = this.#seen.get(id);
        return seen?.report && seen.at > silentSince ? [seen.report] : [];
      });
      await writeStatuses(trx, statusesOf(tree, reports), presentStatuses(tree));
    });
  }

  /** Keeps the counters that changed, to be written; returns all of them, to compare the next ones with. */
  #count(
    amphoraId: string,
    before: ReadonlyMap<string, string>,
    stats: NonNullable<Heartbeat["body"]["stats"]>,
  ): ReadonlyMap<string, string> {
    const now = new Map<string, string>();
    for (const [id, active, total, bytesIn, bytesOut, errors] of stats) {
      const counters: Counters = {
        active_connections: active,
        total_connections: total,
        bytes_in: bytesIn,
        bytes_out: bytesOut,
        request_errors: errors,
      };
      now.set(id, JSON.stringify(counters));
      if (now.get(id) === before.get(id)) continue;
      this.#counters.set(`${amphoraId} ${id}`, { amphora_id: amphoraId, listener_id: id, ...counters });
    }
    return now;
  }

  /** Writes the counters that came in since last time, and the statuses of load balancers whose amphorae fell silent. */
  async #flush(): Promise<void> {
    const { store, log, heartbeatIntervalMs } = this.#options;
    const counters = this.#counters;
    this.#counters = new Map();
    try {
      if (counters.size > 0) await store.transaction((trx) => writeCounters(trx, [...counters.values()]));
    } catch (error) {
      // next time, unless there is news by then
      this.#counters = new Map([...counters, ...this.#counters]);
      log.warn({ err: error }, "writing counters failed");
    }
    const silentSince = Date.now() - heartbeatIntervalMs * SILENT_INTERVALS;
    for (const [id, seen] of [...this.#seen].filter(([, { at }]) => at <= silentSince)) {
      try {
        if (seen.loadBalancerId !== null) await this.#write(seen.loadBalancerId);
        // even if it has spoken meanwhile: its next heartbeat has the report fetched anew
        this.#seen.delete(id);
      } catch (error) {
        log.warn({ err: error }, "writing statuses failed");
      }
    }
  }
}

function presentStatuses({ loadBalancer, listeners, pools }: Tree): ReadonlyMap<string, string> {
  const parts = pools.flatMap(({ pool, members, healthMonitor }) => [
    pool,
    ...members,
    ...(healthMonitor === null ? [] : [healthMonitor]),
  ]);
  const served = listeners.flatMap(({ listener, policies }) => [
    listener,
    ...policies.flatMap(({ policy, rules }) => [policy, ...rules]),
  ]);
  return new Map([loadBalancer, ...served, ...parts].map(({ id, operating_status }) => [id, operating_status]));
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
