/** The controllers of the deployment, for administrators: which run, and whether one mistrusts what it hears. */
import type Router from "@koa/router";
import { type ControllerRow, listControllers, stateOf } from "../store/controllers.ts";
import type { Store } from "../store/database.ts";
import { authorize } from "./policy.ts";
import { caller } from "./requests.ts";

export const CONTROLLERS = "/controllers";

export function controllerRoutes(router: Router, store: Store): void {
  router.get(CONTROLLERS, async (context) => {
    authorize(caller(context), "administer");
    context.body = { controllers: (await listControllers(store)).map(shown) };
  });
}

function shown(row: ControllerRow) {
  const { roles, started_at, seen_at } = row;
  return {
    ...row,
    roles: roles.split(","),
    state: stateOf(row),
    started_at: new Date(started_at).toISOString(),
    seen_at: new Date(seen_at).toISOString(),
  };
}
