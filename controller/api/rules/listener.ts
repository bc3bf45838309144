import type { Listener } from "../../model/listener.ts";
import { listener } from "../../model/listener.ts";
import { ApiError, invalidField } from "../errors.ts";
import type { PartRules, RuleContext } from "./rules.ts";
import { checkProtocols, requirePool } from "./shared.ts";

export const listenerRules: PartRules<typeof listener> = {
  resource: listener,

  async home(_db, given) {
    return given.loadbalancer_id ?? "";
  },

  async create(context, given) {
    await checkPort(context, given.protocol_port ?? 0);
    await checkPool(context, given.protocol ?? "HTTP", given.default_pool_id ?? null);
    return {};
  },

  async update(context, row, patch) {
    if (patch.default_pool_id !== undefined) await checkPool(context, row.protocol, patch.default_pool_id);
    return patch;
  },

  async remove() {},

  async concerned() {
    return {};
  },

  async views(_db, rows) {
    return new Map(rows.map((row) => [row.id, { loadbalancers: [{ id: row.loadbalancer_id }] }]));
  },
};

async function checkPort({ trx, loadBalancer }: RuleContext, port: number): Promise<void> {
  const other = await trx
    .selectFrom("listeners")
    .select("id")
    .where("loadbalancer_id", "=", loadBalancer.id)
    .where("protocol_port", "=", port)
    .where("doomed", "=", false)
    .executeTakeFirst();
  if (other === undefined) return;
  throw new ApiError(
    409,
    `Another Listener on this Load Balancer is already using protocol_port ${port} (listener ${other.id}).`,
  );
}

async function checkPool(
  { trx, loadBalancer }: RuleContext,
  protocol: Listener["protocol"],
  poolId: string | null,
): Promise<void> {
  if (poolId === null) return;
  const pool = await requirePool(trx, poolId);
  if (pool.loadbalancer_id !== loadBalancer.id) {
    throw invalidField("default_pool_id", poolId, "The pool belongs to another load balancer.");
  }
  if (pool.doomed) throw invalidField("default_pool_id", poolId, "The pool is being deleted.");
  checkProtocols(protocol, pool.protocol);
}
