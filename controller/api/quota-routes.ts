/** The paths of quotas. */
import type Router from "@koa/router";
import { readJson, rootUnder } from "./body.ts";
import type { Engine } from "./engine.ts";
import { parseBoolean } from "./filters.ts";
import { fields } from "./listing.ts";
import { Quotas } from "./quotas.ts";
import { caller, empty, id, origin, parameters } from "./requests.ts";

export function quotaRoutes(router: Router, engine: Engine): void {
  const quotas = new Quotas(engine);
  const path = "/quotas";
  router.get(path, async (context) => {
    const given = parameters(context);
    parseBoolean("page_reverse", given.get("page_reverse") ?? "false");
    const { rows, next } = await quotas.list(caller(context), given);
    const wanted = fields(given);
    const shown = rows.map((row) =>
      Object.fromEntries(Object.entries(row).filter(([name]) => wanted?.has(name) ?? true)),
    );
    const links = [];
    if (next !== null) {
      given.set("marker", next);
      links.push({ rel: "next", href: `${origin(context)}${context.path}?${given}` });
    }
    context.body = { quotas: shown, quotas_links: links };
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
    const quota = await quotas.show(caller(context), id(context));
    context.body = { quota: Object.fromEntries(Object.entries(quota).filter(([name]) => wanted?.has(name) ?? true)) };
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
