/** Which path leads where. */
import Router from "@koa/router";
import { amphora } from "../model/amphora.ts";
import { flavorProfile } from "../model/flavor-profile.ts";
import { listener } from "../model/listener.ts";
import { loadBalancer } from "../model/load-balancer.ts";
import type { Resource, Row } from "../model/resource.ts";
import type { KeyManager } from "../secrets/key-manager.ts";
import { amphoraRoutes } from "./amphorae.ts";
import { noViews, type Views, viewsOf } from "./answers.ts";
import { readJson, rootList, rootObject } from "./body.ts";
import { Catalogue, type CatalogueRules } from "./catalogue.ts";
import { connectionRoutes } from "./connections.ts";
import { controllerRoutes } from "./controllers.ts";
import type { Engine } from "./engine.ts";
import { keyManagerRoutes } from "./key-manager/routes.ts";
import { fields, type ListQuery, pageLinks, parseListQuery } from "./listing.ts";
import { LoadBalancers, loadBalancerViews } from "./load-balancers.ts";
import { replaceMembers } from "./members-batch.ts";
import { openApiDocument } from "./openapi/document.ts";
import { Parts } from "./parts.ts";
import { AMPHORAE, cataloguePaths, LOAD_BALANCERS, PART_PATHS, type Parents, type PartPath } from "./paths.ts";
import { authorize } from "./policy.ts";
import { providerRoutes } from "./providers.ts";
import { quotaRoutes } from "./quota-routes.ts";
import { caller, empty, flagParameter, id, origin, parameters, within } from "./requests.ts";
import { statistics } from "./statistics.ts";
import { statusTree } from "./status-tree.ts";
import { versionDocument } from "./versions.ts";

/** The same API under every name that clients call it by. */
export const BASES = ["/v2.0/lbaas", "/v2/lbaas", "/v2.0/octavia", "/v2/octavia", "/v2.0", "/v2"];

/** @param keyManager null: there is none */
export function createRouter(engine: Engine, keyManager: KeyManager | null): Router {
  const router = new Router();
  for (const path of ["/", "/v2", "/v2.0"]) {
    router.get(path, (context) => {
      context.body = versionDocument(origin(context));
    });
  }
  router.get("/healthcheck", async (context) => {
    // whoever asks sends requests elsewhere while this one can't serve any
    await engine.options.store.probe();
    context.body = "OK";
  });
  const v2 = new Router();
  loadBalancerRoutes(v2, engine);
  for (const part of PART_PATHS) partRoutes(v2, engine, part);
  v2.get("/listeners/:id/stats", async (context) => {
    const row = await engine.requireRow(listener, caller(context), id(context));
    context.body = { stats: await statistics(engine.options.store.db, [row.id]) };
  });
  connectionRoutes(v2, engine);
  v2.put("/pools/:id/members", async (context) => {
    const bodies = rootList("members", await readJson(context));
    await replaceMembers(engine, caller(context), id(context), bodies, flagParameter(context, "additive_only"));
    empty(context, 202);
  });
  inListToo(v2, flavorProfile, "/flavorprofiles");
  for (const rules of cataloguePaths(engine.options.computeFlavors)) catalogueRoutes(v2, engine, rules);
  quotaRoutes(v2, engine);
  providerRoutes(v2);
  controllerRoutes(v2, engine.options.store);
  adminOnly(v2, AMPHORAE);
  amphoraRoutes(v2, engine);
  readRoutes(v2, engine, amphora, AMPHORAE, {}, noViews);
  const description = openApiDocument(engine.options.computeFlavors);
  router.get("/v2.0/openapi.json", (context) => {
    context.body = description;
  });
  for (const base of BASES) router.use(base, v2.routes());
  if (keyManager !== null) keyManagerRoutes(router, engine.options.store, keyManager);
  return router;
}

function loadBalancerRoutes(router: Router, engine: Engine): void {
  const service = new LoadBalancers(engine);
  const path = LOAD_BALANCERS;
  readRoutes(router, engine, loadBalancer, path, {}, loadBalancerViews);
  router.post(path, async (context) => {
    const root = rootObject(loadBalancer, await readJson(context));
    context.body = { loadbalancer: await service.create(caller(context), root) };
    context.status = 201;
  });
  router.put(`${path}/:id`, async (context) => {
    const root = rootObject(loadBalancer, await readJson(context));
    context.body = { loadbalancer: await service.update(caller(context), id(context), root) };
    context.status = 202;
  });
  router.delete(`${path}/:id`, async (context) => {
    await service.remove(caller(context), id(context), flagParameter(context, "cascade"));
    empty(context, loadBalancer.deleteStatus);
  });
  router.put(`${path}/:id/failover`, async (context) => {
    await service.failover(caller(context), id(context));
    empty(context, 202);
  });
  router.get(`${path}/:id/stats`, async (context) => {
    const { db } = engine.options.store;
    const row = await engine.requireRow(loadBalancer, caller(context), id(context));
    const listeners = db.selectFrom("listeners").select("id").where("loadbalancer_id", "=", row.id);
    context.body = { stats: await statistics(db, listeners) };
  });
  for (const name of ["status", "statuses"]) {
    router.get(`${path}/:id/${name}`, async (context) => {
      const row = await engine.requireRow(loadBalancer, caller(context), id(context));
      context.body = { statuses: await engine.options.store.snapshot((trx) => statusTree(trx, row)) };
    });
  }
}

function partRoutes(router: Router, engine: Engine, { rules, path, parents }: PartPath): void {
  const { resource } = rules;
  const columns = Object.keys(parents);
  const parts = new Parts(engine);
  readRoutes(router, engine, resource, path, parents, viewsOf(rules));
  router.post(path, async (context) => {
    const root = rootObject(resource, await readJson(context));
    context.body = { [resource.name]: await parts.create(rules, caller(context), root, context.params) };
    context.status = 201;
  });
  router.put(`${path}/:id`, async (context) => {
    const root = rootObject(resource, await readJson(context));
    const row = await parts.update(rules, caller(context), id(context), root, within(context, columns));
    context.body = { [resource.name]: row };
    context.status = 202;
  });
  router.delete(`${path}/:id`, async (context) => {
    await parts.remove(rules, caller(context), id(context), within(context, columns));
    empty(context, resource.deleteStatus);
  });
}

function catalogueRoutes(router: Router, engine: Engine, rules: CatalogueRules): void {
  const { resource, path, isPublic } = rules;
  const catalogue = new Catalogue(engine);
  if (!isPublic) adminOnly(router, path);
  readRoutes(router, engine, resource, path, {}, noViews);
  router.post(path, async (context) => {
    const root = rootObject(resource, await readJson(context));
    context.body = { [resource.name]: await catalogue.create(rules, caller(context), root) };
    context.status = 201;
  });
  router.put(`${path}/:id`, async (context) => {
    const root = rootObject(resource, await readJson(context));
    context.body = { [resource.name]: await catalogue.update(rules, caller(context), id(context), root) };
  });
  router.delete(`${path}/:id`, async (context) => {
    await catalogue.remove(rules, caller(context), id(context));
    empty(context, resource.deleteStatus);
  });
}

/** The reference calls one profile an object in its tables, and shows a list of one in its examples: answers hold both. */
function inListToo(router: Router, resource: Resource, path: string): void {
  router.use(`${path}/:id`, async (context, next) => {
    await next();
    const shown = (context.body as Record<string, unknown> | null)?.[resource.name];
    if (shown !== undefined) context.body = { [resource.name]: shown, [resource.plural]: [shown] };
  });
}

/** @throws {ApiError} 403 for everybody else, whatever is asked */
function adminOnly(router: Router, path: string): void {
  router.use(path, (context, next) => {
    authorize(caller(context), "administer");
    return next();
  });
}

function readRoutes<R extends Resource>(
  router: Router,
  engine: Engine,
  resource: R,
  path: string,
  inPath: Parents,
  views: Views,
): void {
  const columns = Object.keys(inPath);
  router.get(path, async (context) => {
    const query: ListQuery = parseListQuery(resource, parameters(context));
    for (const [name, parent] of Object.entries(inPath)) {
      await engine.requireRow(parent, caller(context), String(context.params[name]));
    }
    const page = await engine.list(resource, caller(context), query, within(context, columns), views);
    const links = pageLinks(page, query, `${origin(context)}${context.path}`, parameters(context));
    context.body = { [resource.plural]: page.rows, [`${resource.plural}_links`]: links };
  });
  router.get(`${path}/:id`, async (context) => {
    const row: Row<R> = await engine.requireRow(resource, caller(context), id(context), within(context, columns));
    context.body = { [resource.name]: await engine.present(resource, row, views, fields(parameters(context))) };
  });
}
