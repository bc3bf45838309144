import { pool } from "../../model/pool.ts";
import { ApiError, invalidField } from "../errors.ts";
import type { PartRules } from "./rules.ts";
import { checkProtocols, relatedIds, requireListener } from "./shared.ts";

export const poolRules: PartRules<typeof pool> = {
  resource: pool,

  async home(db, given) {
    if (given.listener_id) return (await requireListener(db, given.listener_id)).loadbalancer_id;
    if (given.loadbalancer_id) return given.loadbalancer_id;
    throw new ApiError(400, "Must provide at least one of: loadbalancer_id, listener_id");
  },

  async create({ trx, loadBalancer }, given) {
    if (given.loadbalancer_id !== undefined && given.loadbalancer_id !== loadBalancer.id) {
      throw invalidField("listener_id", given.listener_id, "The listener belongs to another load balancer.");
    }
    if (given.listener_id) {
      const listener = await requireListener(trx, given.listener_id);
      if (listener.doomed) throw new ApiError(409, `Listener ${listener.id} is being deleted.`);
      if (listener.default_pool_id !== null) {
        throw new ApiError(409, `Listener ${listener.id} already has a default pool: ${listener.default_pool_id}.`);
      }
      checkProtocols(listener.protocol, given.protocol ?? "HTTP");
    }
    return {};
  },

  async created({ trx }, row, given) {
    if (!given.listener_id) return;
    await trx.updateTable("listeners").set({ default_pool_id: row.id }).where("id", "=", given.listener_id).execute();
  },

  async update(_context, _row, patch) {
    return patch;
  },

  async remove({ trx }, row) {
    await trx
      .updateTable("listeners")
      .set({ default_pool_id: null, provisioning_status: "PENDING_UPDATE" })
      .where("default_pool_id", "=", row.id)
      .execute();
    for (const table of ["members", "health_monitors"] as const) {
      await trx
        .updateTable(table)
        .set({ doomed: true, provisioning_status: "PENDING_DELETE" })
        .where("pool_id", "=", row.id)
        .execute();
    }
  },

  async concerned({ trx }, row) {
    return { listeners: await listenersOf(trx, row.id) };
  },

  async views(db, rows) {
    const ids = rows.map((row) => row.id);
    const [listeners, members, monitors] = await Promise.all([
      relatedIds(db, "listeners", "default_pool_id", ids),
      relatedIds(db, "members", "pool_id", ids),
      relatedIds(db, "health_monitors", "pool_id", ids),
    ]);
    return new Map(
      rows.map((row) => [
        row.id,
        {
          loadbalancers: [{ id: row.loadbalancer_id }],
          listeners: listeners.get(row.id) ?? [],
          members: members.get(row.id) ?? [],
          healthmonitor_id: monitors.get(row.id)?.[0]?.id ?? null,
        },
      ]),
    );
  },
};

/** The listeners that send what no policy sends elsewhere to the pool. */
export async function listenersOf(db: Parameters<typeof relatedIds>[0], poolId: string): Promise<string[]> {
  return ((await relatedIds(db, "listeners", "default_pool_id", [poolId])).get(poolId) ?? []).map(({ id }) => id);
}
