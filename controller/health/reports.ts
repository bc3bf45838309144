/** Health reports in, statuses out: a report is fetched when its digest moves, and what changed is written. */
import { setImmediate } from "node:timers/promises";
import type { Logger } from "pino";
import type { HealthReport } from "../../agent/protocol.ts";
import { type AgentClient, addressOf } from "../amphorae/client.ts";
import { type Amphora, amphora } from "../model/amphora.ts";
import { type LoadBalancer, loadBalancer } from "../model/load-balancer.ts";
import type { OperatingStatus } from "../model/status.ts";
import { blueprintOf } from "../store/blueprint.ts";
import type { Store, Trx } from "../store/database.ts";
import { lockLoadBalancer, makeDue } from "../store/load-balancers.ts";
import { type Connection, findRow, selectRows, untyped } from "../store/rows.ts";
import type { Settling } from "../store/settling.ts";
import { loadTree, type Tree } from "../store/tree.ts";
import { Gate } from "./gate.ts";
import type { Registry, Seen } from "./registry.ts";
import { statusesOf } from "./status.ts";

/** So many reports are fetched at a time: all amphorae have news when a controller starts. */
const MOST_FETCHES = 32;
const MOST_CHECKS = 4;
const WRITTEN_AT_ONCE = 32;
/** SQLite takes 32,766 values in a statement, PostgreSQL 65,535. */
const IDS_AT_ONCE = 10_000;

export interface ReportsOptions {
  readonly store: Store;
  readonly client: Pick<AgentClient, "health">;
  readonly settling: Settling;
  readonly registry: Registry;
  /** called with the id of an amphora that speaks, but is no longer in the store */
  readonly onZombie: (amphoraId: string) => void;
  readonly log: Logger;
}

/** A table, and the new status of some of its rows by their id. */
type Change = [table: string, changed: [id: string, status: OperatingStatus][]];

/** A load balancer whose statuses are to be written, and whom to tell. */
interface Unwritten {
  readonly loadBalancerId: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Reports {
  readonly #options: ReportsOptions;
  readonly #fetches = new Gate(MOST_FETCHES);
  readonly #checks = new Gate(MOST_CHECKS);
  readonly #unwritten: Unwritten[] = [];
  #writing = false;

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /** Fetches the report that the amphora's last heartbeat speaks of, unless it is here or on its way. */
  want(seen: Seen): void {
    if (seen.digest === seen.wanted || seen.fetching) return;
    seen.fetching = true;
    this.#fetch(seen)
      .catch((error: unknown) =>
        this.#options.log.warn({ amphora: seen.amphoraId, err: error }, "fetching a health report failed"),
      )
      .finally(() => {
        seen.fetching = false;
      });
  }

  /**
   * Works the statuses of a load balancer out, and writes those that changed: when it is known of each of its amphorae
   * what it says, or that it is silent; until then another controller may know more. Locked as a change is: so what is
   * compared with is what there is, and whoever locks in this order never waits in a circle.
   */
  async write(loadBalancerId: string): Promise<void> {
    const { store } = this.#options;
    const differs = await this.#checks.run(async () => {
      // nothing is locked, nor written, where nothing changes: that is most often so
      const present = await findRow(store.db, loadBalancer, loadBalancerId);
      return present !== undefined && (await this.#changes(store.db, present)).length > 0;
    });
    if (!differs) return;
    await new Promise<void>((resolve, reject) => {
      this.#unwritten.push({ loadBalancerId, resolve, reject });
      if (!this.#writing) void this.#writeAll();
    });
  }

  /** Writes what waits, many load balancers in one transaction: a database does few of them in a second. */
  async #writeAll(): Promise<void> {
    this.#writing = true;
    while (this.#unwritten.length > 0) {
      const batch = this.#unwritten.splice(0, WRITTEN_AT_ONCE);
      const error = await this.#tryToWrite(batch);
      if (error === null) for (const { resolve } of batch) resolve();
      else if (batch.length === 1) batch[0]?.reject(error);
      // one of them may be at fault, and the others need not suffer for it
      else {
        for (const one of batch) {
          const fault = await this.#tryToWrite([one]);
          if (fault === null) one.resolve();
          else one.reject(fault);
        }
      }
    }
    this.#writing = false;
  }

  async #tryToWrite(batch: readonly Unwritten[]): Promise<unknown> {
    const { store } = this.#options;
    // all who lock several do it in this order
    const ids = [...new Set(batch.map(({ loadBalancerId }) => loadBalancerId))].sort();
    try {
      await store.transaction(async (trx) => {
        const changes: Change[] = [];
        for (const id of ids) {
          await setImmediate();
          const row = await lockLoadBalancer(store, trx, id);
          if (row !== undefined) changes.push(...(await this.#changes(trx, row)));
        }
        await writeStatuses(trx, changes);
      });
      return null;
    } catch (error) {
      return error;
    }
  }

  /** By table, the parts whose status is another than what is written. */
  async #changes(connection: Connection, row: LoadBalancer): Promise<Change[]> {
    const { registry } = this.#options;
    const tree = await loadTree(connection, row);
    const { amphorae: wanted } = await blueprintOf(connection, row);
    const amphorae = await selectRows(connection, amphora, { loadbalancer_id: row.id });
    const reports: HealthReport[] = [];
    for (const { id, status } of amphorae) {
      const seen = registry.get(id);
      if (seen?.silent) continue;
      if (seen?.report) reports.push(seen.report);
      else if (status === "ALLOCATED") return [];
    }
    const present = presentStatuses(tree);
    return Object.entries<ReadonlyMap<string, OperatingStatus>>({ ...statusesOf(tree, reports, wanted) })
      .map(([table, statuses]): Change => [table, [...statuses].filter(([id, status]) => present.get(id) !== status)])
      .filter(([, changed]) => changed.length > 0);
  }

  /** Fetches reports until one belongs to the digest that the amphora last named. */
  async #fetch(seen: Seen): Promise<void> {
    const { store, client, settling, registry, onZombie } = this.#options;
    while (seen.digest !== seen.wanted) {
      const row = await this.#fetches.run(() => findRow(store.db, amphora, seen.amphoraId));
      if (row === undefined) {
        registry.forget(seen.amphoraId);
        onZombie(seen.amphoraId);
        return;
      }
      const digest = seen.wanted;
      const report = await this.#fetches.run(() => client.health(addressOf(row)));
      Object.assign(seen, { report, digest, loadBalancerId: row.loadbalancer_id });
      try {
        await this.write(row.loadbalancer_id);
        if (await this.#lagsBehind(row, report)) {
          await makeDue(store.db, [row.loadbalancer_id]);
          settling.wake();
        }
      } catch (error) {
        // the next heartbeat has it written
        seen.digest = "";
        throw error;
      }
    }
  }

  /** Whether the amphora runs something older than what was settled, or waits to be told that it does not. */
  async #lagsBehind(row: Amphora, report: HealthReport): Promise<boolean> {
    if (row.status !== "ALLOCATED") return false;
    if (report.vrrp?.state === "WAITING") return true;
    const lb = await findRow(this.#options.store.db, loadBalancer, row.loadbalancer_id);
    return lb?.provisioning_status === "ACTIVE" && report.revision < lb.revision;
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

/** Of several load balancers together: a statement for each table and status. */
async function writeStatuses(trx: Trx, changes: readonly Change[]): Promise<void> {
  for (const [table, ofOne] of Map.groupBy(changes, ([name]) => name)) {
    const changed = ofOne.flatMap(([, each]) => each);
    for (const [status, entries] of Map.groupBy(changed, ([, each]) => each)) {
      const ids = entries.map(([id]) => id);
      for (let i = 0; i < ids.length; i += IDS_AT_ONCE) {
        const some = ids.slice(i, i + IDS_AT_ONCE);
        await untyped(trx).updateTable(table).set({ operating_status: status }).where("id", "in", some).execute();
      }
    }
  }
}
