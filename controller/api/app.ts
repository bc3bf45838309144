/** The HTTP face of the controller: identity first, one exit for errors last. */
import { randomUUID } from "node:crypto";
import type Router from "@koa/router";
import Koa, { type Context, type Next } from "koa";
import type { Logger } from "pino";
import { UnavailableError } from "../store/database.ts";
import { ApiError, errorBody, keyManagerErrorBody } from "./errors.ts";
import type { Caller, IdentityDriver } from "./identity.ts";
import { KEY_MANAGER } from "./key-manager/links.ts";

/** What middleware leaves for handlers. */
export interface State {
  caller: Caller;
}

const OPEN_PATHS = new Set(["/", "/healthcheck", "/v2.0/openapi.json", KEY_MANAGER, `${KEY_MANAGER}/`]);

export function createApp(identity: IdentityDriver, router: Router, log: Logger): Koa<State> {
  const app = new Koa<State>();
  app.silent = true;
  app.use((context, next) => exit(context, next, identity.authUrl ?? "/", log));
  app.use((context, next) => identify(context, next, identity));
  app.use(unanswered);
  app.use(router.routes());
  // a path that exists, called with another method: 405 with the methods it takes
  app.use(router.allowedMethods());
  return app;
}

/** The one place where errors become answers, and where every answer gets its request id. */
async function exit(context: Context, next: Next, authUrl: string, log: Logger): Promise<void> {
  const started = performance.now();
  const requestId = `req-${randomUUID()}`;
  context.set("RequestId", requestId);
  context.set("x-openstack-request-id", requestId);
  try {
    await next();
  } catch (error) {
    const known = knownError(error);
    const { status, message } = known ?? UNKNOWN;
    context.status = status;
    const bodyOf = isKeyManager(context) ? keyManagerErrorBody : errorBody;
    context.body = bodyOf(status, message);
    if (status === 503) context.set("Retry-After", "1");
    if (status === 401) context.set("WWW-Authenticate", `Keystone uri="${authUrl}"`);
    // what is left of a body that was not read must not be taken for the next request
    if (status === 413) context.set("Connection", "close");
    if (known === null)
      log.error({ err: error, requestId, method: context.method, path: context.path }, "request failed");
  }
  log.debug(
    {
      requestId,
      method: context.method,
      path: context.path,
      status: context.status,
      ms: Math.round(performance.now() - started),
    },
    "request",
  );
}

const UNKNOWN = { status: 500, message: "The server failed. Its log says why under the request's id." };

function knownError(error: unknown): Pick<ApiError, "status" | "message"> | null {
  if (error instanceof ApiError) return error;
  return error instanceof UnavailableError
    ? { status: 503, message: "The database can't be reached now: try again in a moment." }
    : null;
}

function isKeyManager({ path }: Context): boolean {
  return path === KEY_MANAGER || path.startsWith(`${KEY_MANAGER}/`);
}

/** What no route has answered. */
async function unanswered(context: Context, next: Next): Promise<void> {
  await next();
  if (context.status === 404) throw new ApiError(404, "There is nothing here.");
  if (context.status === 405 || context.status === 501) {
    throw new ApiError(405, `The path does not take ${context.method}.`);
  }
}

async function identify(context: Context, next: Next, identity: IdentityDriver): Promise<void> {
  if (context.method === "OPTIONS" || OPEN_PATHS.has(context.path)) return next();
  const token = context.get("X-Auth-Token");
  const caller = token === "" ? null : await identity.authenticate(token);
  if (caller === null) throw new ApiError(401, "The request you have made requires authentication.");
  context.state.caller = caller;
  return next();
}
