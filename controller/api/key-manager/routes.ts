/**
 * The key manager: the part of Barbican's API v1 that clients use for certificates. What differs from Barbican: a
 * payload can be replaced; unknown properties are refused; a payload is answered in its own type to whoever takes any.
 */
import Router from "@koa/router";
import type { Context } from "koa";
import type { KeyManager } from "../../secrets/key-manager.ts";
import type { Store } from "../../store/database.ts";
import { readBytes, readJson } from "../body.ts";
import { caller, empty, id, origin, parameters } from "../requests.ts";
import { requireContainer, requireSecret } from "./access.ts";
import { Acls } from "./acls.ts";
import { Consumers } from "./consumers.ts";
import { Containers } from "./containers.ts";
import { hrefOf, KEY_MANAGER, type Plural, paging, V1 } from "./links.ts";
import { answerPayload, MOST_PAYLOAD_BYTES, sentPayload } from "./payloads.ts";
import { secretQuery, textOf, windowOf } from "./queries.ts";
import { Secrets } from "./secrets.ts";
import { answerVersion, versionDetails, versionList } from "./versions.ts";
import { Views } from "./views.ts";

export function keyManagerRoutes(router: Router, store: Store, keyManager: KeyManager): void {
  router.get(KEY_MANAGER, (context) => {
    answerVersion(context);
    context.status = 300;
    context.body = versionList(context);
  });
  router.get(V1, (context) => {
    answerVersion(context);
    context.body = { version: versionDetails(context) };
  });
  const v1 = new Router();
  v1.use((context, next) => {
    answerVersion(context);
    return next();
  });
  const consumers = new Consumers(store);
  const views = new Views(store, consumers);
  secretRoutes(v1, store, new Secrets(store, keyManager), views);
  containerRoutes(v1, store, new Containers(store), views);
  consumerRoutes(v1, "secrets", consumers, async (context) =>
    views.secrets(context, [await requireSecret(store, caller(context), id(context), "read")]),
  );
  consumerRoutes(v1, "containers", consumers, async (context) =>
    views.containers(context, [await requireContainer(store, caller(context), id(context), "read")]),
  );
  for (const plural of ["secrets", "containers"] as const) aclRoutes(v1, plural, new Acls(store));
  router.use(V1, v1.routes());
}

function secretRoutes(router: Router, store: Store, secrets: Secrets, views: Views): void {
  router.get("/secrets", async (context) => {
    const window = windowOf(parameters(context));
    const query = secretQuery(parameters(context), caller(context).projectId);
    const { rows, total } = await secrets.list(caller(context), query, window);
    context.body = { secrets: await views.secrets(context, rows), ...paging(context, window, total) };
  });
  router.post("/secrets", async (context) => {
    answerMade(context, "secrets", await secrets.create(caller(context), await readJson(context)));
  });
  router.get("/secrets/:id", async (context) => {
    // an older way to ask for the payload
    if (!["", "*/*", "application/json"].includes(context.get("Accept"))) {
      return answerPayload(context, await secrets.payload(caller(context), id(context)));
    }
    const row = await requireSecret(store, caller(context), id(context), "read");
    context.body = (await views.secrets(context, [row]))[0];
  });
  router.get("/secrets/:id/payload", async (context) => {
    answerPayload(context, await secrets.payload(caller(context), id(context)));
  });
  router.put("/secrets/:id", async (context) => {
    await requireSecret(store, caller(context), id(context), "change");
    // base64 takes 4 characters for 3 bytes, and may be broken into lines
    const body = await readBytes(context, 2 * MOST_PAYLOAD_BYTES);
    const payload = sentPayload(context.get("Content-Type"), context.get("Content-Encoding"), body);
    await secrets.setPayload(caller(context), id(context), payload);
    empty(context, 204);
  });
  router.delete("/secrets/:id", async (context) => {
    await secrets.remove(caller(context), id(context));
    empty(context, 204);
  });
}

function containerRoutes(router: Router, store: Store, containers: Containers, views: Views): void {
  router.get("/containers", async (context) => {
    const query = parameters(context);
    const window = windowOf(query);
    const equal = { ...textOf(query, "name", "name"), ...textOf(query, "type", "type") };
    const { rows, total } = await containers.list(caller(context), equal, window);
    context.body = { containers: await views.containers(context, rows), ...paging(context, window, total) };
  });
  router.post("/containers", async (context) => {
    answerMade(context, "containers", await containers.create(caller(context), await readJson(context)));
  });
  router.get("/containers/:id", async (context) => {
    const row = await requireContainer(store, caller(context), id(context), "read");
    context.body = (await views.containers(context, [row]))[0];
  });
  router.delete("/containers/:id", async (context) => {
    await containers.remove(caller(context), id(context));
    empty(context, 204);
  });
  router.post("/containers/:id/secrets", async (context) => {
    await containers.addSecret(caller(context), id(context), await readJson(context));
    answerMade(context, "containers", id(context));
  });
  router.delete("/containers/:id/secrets", async (context) => {
    await containers.removeSecret(caller(context), id(context), await readJson(context));
    empty(context, 204);
  });
}

/** @param view what the path names, as clients see it */
function consumerRoutes(
  router: Router,
  plural: Plural,
  consumers: Consumers,
  view: (context: Context) => Promise<Record<string, unknown>[]>,
): void {
  const path = `/${plural}/:id/consumers`;
  router.get(path, async (context) => {
    await view(context);
    const window = windowOf(parameters(context));
    const all = (await consumers.of(plural, [id(context)], origin(context))).get(id(context)) ?? [];
    const page = all.slice(window.offset, window.offset + window.limit);
    context.body = { consumers: page, ...paging(context, window, all.length) };
  });
  router.post(path, async (context) => {
    await consumers.add(caller(context), plural, id(context), await readJson(context));
    context.body = (await view(context))[0];
  });
  router.delete(path, async (context) => {
    await consumers.remove(caller(context), plural, id(context), await readJson(context));
    context.body = (await view(context))[0];
  });
}

function aclRoutes(router: Router, plural: Plural, acls: Acls): void {
  const path = `/${plural}/:id/acl`;
  router.get(path, async (context) => {
    context.body = await acls.show(caller(context), plural, id(context));
  });
  for (const [method, how] of [
    ["put", "replace"],
    ["patch", "update"],
  ] as const) {
    router[method](path, async (context) => {
      await acls.set(caller(context), plural, id(context), await readJson(context), how);
      context.body = { acl_ref: `${hrefOf(context, plural, id(context))}/acl` };
    });
  }
  router.delete(path, async (context) => {
    await acls.remove(caller(context), plural, id(context));
    context.body = {};
  });
}

/** 201, with where what was made is. */
function answerMade(context: Context, plural: Plural, id: string): void {
  const href = hrefOf(context, plural, id);
  context.set("Location", href);
  context.body = plural === "secrets" ? { secret_ref: href } : { container_ref: href };
  context.status = 201;
}
