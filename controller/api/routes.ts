/** Which path leads where. */
import Router from "@koa/router";
import type { Context } from "koa";
import { amphora } from "../model/amphora.ts";
import { listener } from "../model/listener.ts";
import { loadBalancer } from "../model/load-balancer.ts";
import { pool } from "../model/pool.ts";
import type { Resource, Row } from "../model/resource.ts";
import { readJson, rootObject } from "./body.ts";
import { type Engine, viewsOf } from "./engine.ts";
import { ApiError, invalidField } from "./errors.ts";
import { type Caller, isAdmin } from "./identity.ts";
import { fields, type ListQuery, pageLinks, parseListQuery } from "./listing.ts";
import { LoadBalancers, loadBalancerViews, statistics } from "./load-balancers.ts";
import { healthMonitorRules } from "./rules/health-monitor.ts";
import { listenerRules } from "./rules/listener.ts";
import { memberRules } from "./rules/member.ts";
import { poolRules } from "./rules/pool.ts";
import type { PartRules } from "./rules/rules.ts";
import { versionDocument } from "./versions.ts";

const BASES = ["/v2.0/lbaas", "/v2/lbaas", "/v2.0/octavia", "/v2/octavia", "/v2.0", "/v2"];
type Parents = Readonly<Record<string, Resource>>;
type Views = Parameters<Engine["list"]>[4];

export function createRouter(engine: Engine): Router {
  const router = new Router();
  router.get("/", (context) => {
    context.body = versionDocument(origin(context));
  });
  router.get("/healthcheck", (context) => {
    context.body = "OK";
  });
  const v2 = new Router();
  loadBalancerRoutes(v2, engine);
  partRoutes(v2, engine, listenerRules, "/listeners");
  partRoutes(v2, engine, poolRules, "/pools");
  partRoutes(v2, engine, memberRules, "/pools/:pool_id/members", { pool_id: pool });
  partRoutes(v2, engine, healthMonitorRules, "/healthmonitors");
  v2.get("/listeners/:id/stats", async (context) => {
    const row = await engine.requireRow(listener, caller(context), id(context));
    context.body = { stats: await statistics(engine.options.store.db, [row.id]) };
  });
  amphoraRoutes(v2, engine);
  for (const base of BASES) router.use(base, v2.routes());
  return router;
}

function loadBalancerRoutes(router: Router, engine: Engine): void {
  const service = new LoadBalancers(engine);
  const path = "/loadbalancers";
  readRoutes(router, engine, loadBalancer, path, {}, loadBalancerViews);
  router.post(path, async (context) => {
    const root = rootObject(loadBalancer, await readJson(context));
    context.status = 201;
    context.body = { loadbalancer: await service.create(caller(context), root) };
  });
  router.put(`${path}/:id`, async (context) => {
    const root = rootObject(loadBalancer, await readJson(context));
    context.status = 202;
    context.body = { loadbalancer: await service.update(caller(context), id(context), root) };
  });
  router.delete(`${path}/:id`, async (context) => {
    await service.remove(caller(context), id(context), cascade(context));
    empty(context, loadBalancer.deleteStatus);
  });
  router.put(`${path}/:id/failover`, async (context) => {
    await service.failover(caller(context), id(context));
    empty(context, 202);
  });
  router.get(`${path}/:id/stats`, async (context) => {
    context.body = { stats: await service.stats(caller(context), id(context)) };
  });
}

/** @param inPath parameters of the path that are columns of the resource, and what they name */
function partRoutes<R extends Resource>(
  router: Router,
  engine: Engine,
  rules: PartRules<R>,
  path: string,
  inPath: Parents = {},
): void {
  const { resource } = rules;
  readRoutes(router, engine, resource, path, inPath, viewsOf(rules));
  router.post(path, async (context) => {
    const root = rootObject(resource, await readJson(context));
    context.status = 201;
    context.body = { [resource.name]: await engine.createPart(rules, caller(context), root, context.params) };
  });
  router.put(`${path}/:id`, async (context) => {
    const root = rootObject(resource, await readJson(context));
    const row = await engine.updatePart(rules, caller(context), id(context), root, within(context, inPath));
    context.status = 202;
    context.body = { [resource.name]: row };
  });
  router.delete(`${path}/:id`, async (context) => {
    await engine.removePart(rules, caller(context), id(context), within(context, inPath));
    empty(context, resource.deleteStatus);
  });
}

function amphoraRoutes(router: Router, engine: Engine): void {
  router.use("/amphorae", (context, next) => {
    if (!isAdmin(caller(context))) throw new ApiError(403, "Policy does not allow this request to be performed.");
    return next();
  });
  readRoutes(router, engine, amphora, "/amphorae", {}, async () => new Map());
}

function readRoutes<R extends Resource>(
  router: Router,
  engine: Engine,
  resource: R,
  path: string,
  inPath: Parents,
  views: Views,
): void {
  router.get(path, async (context) => {
    const query: ListQuery = parseListQuery(resource, parameters(context));
    for (const [name, parent] of Object.entries(inPath)) {
      await engine.requireRow(parent, caller(context), String(context.params[name]));
    }
    const page = await engine.list(resource, caller(context), query, within(context, inPath), views);
    const links = pageLinks(page, query, `${origin(context)}${context.path}`, parameters(context));
    context.body = { [resource.plural]: page.rows, [`${resource.plural}_links`]: links };
  });
  router.get(`${path}/:id`, async (context) => {
    const row: Row<R> = await engine.requireRow(resource, caller(context), id(context), within(context, inPath));
    context.body = { [resource.name]: await engine.present(resource, row, views, fields(parameters(context))) };
  });
}

/** Not Koa's `URL`, which there is none of when the Host header is missing or makes none. */
function parameters(context: Context): URLSearchParams {
  return new URLSearchParams(context.querystring);
}

/** The scheme and host that the client used. */
function origin(context: Context): string {
  return `${context.protocol}://${context.host}`;
}

/** Without a body: Koa would write the status in words. */
function empty(context: Context, status: number): void {
  context.body = null;
  context.status = status;
}

function caller(context: Context): Caller {
  return context.state.caller;
}

function id(context: Context): string {
  return String(context.params.id);
}

function within(context: Context, inPath: Parents): Record<string, string> {
  return Object.fromEntries(Object.keys(inPath).map((name) => [name, String(context.params[name])]));
}

function cascade(context: Context): boolean {
  const text = parameters(context).get("cascade") ?? "false";
  const lower = text.toLowerCase();
  if (lower !== "true" && lower !== "false") throw invalidField("cascade", text, "It must be true or false.");
  return lower === "true";
}
