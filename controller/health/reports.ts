/** Health reports in, statuses out: a report is fetched when its digest moves, and what changed is written. */
import type { Logger } from "pino";
import type { HealthReport } from "../../agent/protocol.ts";
import type { AgentClient } from "../amphorae/client.ts";
import { type Amphora, amphora } from "../model/amphora.ts";
import { loadBalancer } from "../model/load-balancer.ts";
import { blueprintOf } from "../store/blueprint.ts";
import type { Store, Trx } from "../store/database.ts";
import { lockLoadBalancer, makeDue } from "../store/load-balancers.ts";
import { findRow, selectRows, untyped } from "../store/rows.ts";
import type { Settling } from "../store/settling.ts";
import { loadTree, type Tree } from "../store/tree.ts";
import type { Registry, Seen } from "./registry.ts";
import { type Statuses, statusesOf } from "./status.ts";

export interface ReportsOptions {
  readonly store: Store;
  readonly client: Pick<AgentClient, "health">;
  readonly settling: Settling;
  readonly registry: Registry;
  /** called with the id of an amphora that speaks, but is no longer in the store */
  readonly onZombie: (amphoraId: string) => void;
  readonly log: Logger;
}

export class Reports {
  readonly #options: ReportsOptions;

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
    const { store, registry } = this.#options;
    await store.transaction(async (trx) => {
      const row = await lockLoadBalancer(store, trx, loadBalancerId);
      if (row === undefined) return;
      const tree = await loadTree(trx, row);
      const { amphorae: wanted } = await blueprintOf(trx, row);
      const amphorae = await selectRows(trx, amphora, { loadbalancer_id: row.id });
      const reports: HealthReport[] = [];
      for (const { id, status } of amphorae) {
        const seen = registry.get(id);
        if (seen?.silent) continue;
        if (seen?.report) reports.push(seen.report);
        else if (status === "ALLOCATED") return;
      }
      await writeStatuses(trx, statusesOf(tree, reports, wanted), presentStatuses(tree));
    });
  }

  /** Fetches reports until one belongs to the digest that the amphora last named. */
  async #fetch(seen: Seen): Promise<void> {
    const { store, client, settling, registry, onZombie } = this.#options;
    while (seen.digest !== seen.wanted) {
      const row = await findRow(store.db, amphora, seen.amphoraId);
      if (row === undefined) {
        registry.forget(seen.amphoraId);
        onZombie(seen.amphoraId);
        return;
      }
      const digest = seen.wanted;
      const report = await client.health({ amphoraId: row.id, address: row.lb_network_ip ?? "" });
      Object.assign(seen, { report, digest, loadBalancerId: row.loadbalancer_id });
      await this.write(row.loadbalancer_id);
      if (await this.#lagsBehind(row, report)) {
        await makeDue(store, [row.loadbalancer_id]);
        settling.wake();
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

async function writeStatuses(trx: Trx, statuses: Statuses, now: ReadonlyMap<string, string>): Promise<void> {
  for (const [table, wanted] of Object.entries(statuses) as [string, Statuses[keyof Statuses]][]) {
    const changed = [...wanted].filter(([id, status]) => now.get(id) !== status);
    for (const [status, entries] of Map.groupBy(changed, ([, each]) => each)) {
      const ids = entries.map(([id]) => id);
      await untyped(trx).updateTable(table).set({ operating_status: status }).where("id", "in", ids).execute();
    }
  }
}
