/** The paths of quotas. */
import type Router from "@koa/router";
import { quota } from "../model/quota.ts";
import { readJson, rootUnder } from "./body.ts";
import type { Engine } from "./engine.ts";
import { fields, pageLinks, parseListQuery } from "./listing.ts";
import { Quotas } from "./quotas.ts";
import { caller, empty, id, origin, parameters } from "./requests.ts";

export function quotaRoutes(router: Router, engine: Engine): void {
  const quotas = new Quotas(engine);
  const path = "/quotas";
  router.get(path, async (context) => {
    const query = parseListQuery(quota, parameters(context));
    const page = await quotas.list(caller(context), query);
    const links = pageLinks(page, query, `${origin(context)}${context.path}`, parameters(context));
    context.body = { quotas: page.rows.map((row) => select(row, query.fields)), quotas_links: links };
  });
  router.get(`${path}/defaults`, (context) => {
    context.body = { quota: quotas.defaults(caller(context)) };
  });
  // Octavia's path for the same
  router.get(`${path}/:id/default`, (context) => {
    context.body = { quota: quotas.defaults(caller(context)) };
  });
  router.get(`${path}/:id`, async (context) => {
    const wanted = fields(parameters(context));
    context.body = { quota: select(await quotas.show(caller(context), id(context)), wanted) };
  });
  router.put(`${path}/:id`, async (context) => {
    const root = rootUnder("quota", await readJson(context));
    context.body = { quota: await quotas.set(caller(context), id(context), root) };
    context.status = 202;
  });
  router.delete(`${path}/:id`, async (context) => {
    await quotas.reset(caller(context), id(context));
    empty(context, 204);
  });
}

function select(row: Readonly<Record<string, unknown>>, wanted: ReadonlySet<string> | null): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).filter(([name]) => wanted?.has(name) ?? true));
}
