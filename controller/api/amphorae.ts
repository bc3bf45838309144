/** Amphorae, for administrators: replaced, counted, given their specification anew. */
import type Router from "@koa/router";
import { type Amphora, amphora } from "../model/amphora.ts";
import { updateRow } from "../store/rows.ts";
import type { Engine } from "./engine.ts";
import { ApiError } from "./errors.ts";
import type { Caller } from "./identity.ts";
import { caller, empty, id } from "./requests.ts";
import { amphoraStatistics } from "./statistics.ts";

export function amphoraRoutes(router: Router, engine: Engine): void {
  const path = "/amphorae";
  router.put(`${path}/:id/failover`, async (context) => {
    await replace(engine, caller(context), await find(engine, caller(context), id(context)));
    empty(context, 202);
  });
  router.put(`${path}/:id/config`, async (context) => {
    const row = await find(engine, caller(context), id(context));
    // the reconciler gives every amphora of the load balancer what it should have
    await engine.change(caller(context), row.loadbalancer_id, async () => {}, { action: "administer" });
    empty(context, 202);
  });
  router.get(`${path}/:id/stats`, async (context) => {
    const row = await find(engine, caller(context), id(context));
    context.body = { amphora_stats: await amphoraStatistics(engine.options.store.db, row.id) };
  });
  router.delete(`${path}/:id`, async (context) => {
    const row = await find(engine, caller(context), id(context));
    if (row.status !== "ERROR") {
      throw new ApiError(409, `Amphora ${row.id} is in use and cannot be deleted: it can be replaced, by a failover.`);
    }
    await replace(engine, caller(context), row);
    empty(context, 204);
  });
}

function find(engine: Engine, by: Caller, amphoraId: string): Promise<Amphora> {
  return engine.requireRow(amphora, by, amphoraId, {}, "administer");
}

/** Has another take its place; it goes when that one serves. */
async function replace(engine: Engine, by: Caller, row: Amphora): Promise<void> {
  await engine.change(by, row.loadbalancer_id, async ({ trx }) => updateRow(trx, amphora, row.id, { retiring: true }), {
    action: "administer",
  });
}
