/** Finds where the compute service and the store disagree: instances that nobody knows, amphorae that do not run. */
import type { Logger } from "pino";
import type { ComputeDriver } from "../drivers/compute.ts";
import type { Store } from "../store/database.ts";
import { makeDue } from "../store/load-balancers.ts";

/**
 * Removes instances without a row. A row is written before its instance is asked for, so what was listed before the
 * rows were read and has none is left over.
 * @returns how many load balancers have an amphora that does not run; they are due now
 */
export async function sweep(store: Store, compute: ComputeDriver, log: Logger): Promise<number> {
  const instances = await compute.list();
  const running = new Set(await compute.running());
  const rows = await store.db.selectFrom("amphorae").select(["id", "loadbalancer_id"]).execute();
  const known = new Set(rows.map((row) => row.id));
  for (const id of instances) {
    if (known.has(id)) continue;
    log.warn({ amphora: id }, "removing an instance that no load balancer has");
    await compute.remove(id);
  }
  const dead = new Set(rows.filter((row) => !running.has(row.id)).map((row) => row.loadbalancer_id));
  await makeDue(store.db, [...dead]);
  return dead.size;
}
