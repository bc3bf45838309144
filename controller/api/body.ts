/** From bytes to checked values: what a client may write is decided by the resources' declarations alone. */
import type { Context } from "koa";
import getRawBody from "raw-body";
import type { z } from "zod";
import type { Attribute } from "../model/attribute.ts";
import type { Resource, Row } from "../model/resource.ts";
import { ApiError, invalidField, shortened } from "./errors.ts";
import type { Given } from "./rules/rules.ts";

/** A load balancer with 10 listeners, 10 pools and 200 members in one body is about 100 KB. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** The reference's examples are calls of curl without a Content-Type: curl then says that JSON is a form. */
const JSON_TYPES: readonly string[] = ["", "application/json", "application/x-www-form-urlencoded"];

/**
 * The JSON object in a request's body.
 * @throws {ApiError} 400 (no JSON, no object, no UTF-8), 413 (too large), 415 (another media type)
 */
export async function readJson(context: Context): Promise<Record<string, unknown>> {
  const type = context.request.type;
  if (!JSON_TYPES.includes(type)) {
    throw new ApiError(415, `The body is of type ${shortened(type)}, only application/json is taken.`);
  }
  const bytes = await readBytes(context, MAX_BODY_BYTES);
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ApiError(
      400,
      `The body is no valid JSON: ${error instanceof Error ? placeIn(error.message) : "unreadable"}.`,
    );
  }
  if (!isObject(body)) throw new ApiError(400, "The body must be a JSON object.");
  return body;
}

/** What is wrong, without the piece of the body that V8 shows: it may hold a secret. */
function placeIn(message: string): string {
  return message.replace(/, (\.\.\.)?".*/s, "");
}

/** The body as it was sent. @throws {ApiError} 413, 400 */
export function readBytes(context: Context, limit: number): Promise<Buffer> {
  return getRawBody(context.req, { limit, length: context.request.length ?? null }).catch(
    (error: { status?: number; message?: string }) => {
      if (error.status === 413) throw new ApiError(413, `The body is larger than ${limit} bytes.`);
      throw new ApiError(400, `The body could not be read: ${error.message}`);
    },
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The object under the resource's root key.
 * @throws {ApiError} 400 when it is missing, no object, or not alone
 */
export function rootObject(resource: Resource, body: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return rootUnder(resource.name, body);
}

/** @throws {ApiError} 400 */
export function rootUnder(name: string, body: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const root = alone(name, "object", body);
  if (!isObject(root)) throw invalidField(name, root, "It must be an object.");
  return root;
}

/** The objects of a list under a root key. @throws {ApiError} 400 */
export function rootList(name: string, body: Readonly<Record<string, unknown>>): Record<string, unknown>[] {
  const root = alone(name, "list", body);
  if (!Array.isArray(root) || !root.every(isObject)) throw invalidField(name, root, "It must be a list of objects.");
  return root;
}

function alone(name: string, kind: string, body: Readonly<Record<string, unknown>>): unknown {
  const root = body[name];
  if (root === undefined) throw new ApiError(400, `The body must hold the ${kind} "${name}".`);
  const others = Object.keys(body).filter((key) => key !== name);
  if (others.length === 0) return root;
  throw new ApiError(400, `Unknown attribute for argument ${name}: ${shortened(others.join(", "))}`);
}

/**
 * What a client asks a new object to be: everything it may set, with defaults in place.
 * @param fixed attributes that are known already, and not the client's to set here
 * @throws {ApiError} 400 naming the attribute
 */
export function valuesForCreate<R extends Resource>(
  resource: R,
  root: Readonly<Record<string, unknown>>,
  fixed: readonly string[] = [],
): Given<R> {
  const given = readValues(resource, root, ({ write }, name) => write !== "never" && !fixed.includes(name));
  const values: Record<string, unknown> = {};
  for (const [field, attribute] of Object.entries(resource.attributes)) {
    if (attribute.write === "never" || attribute.write === "internal" || fixed.includes(field)) continue;
    const value = given[field] ?? attribute.default;
    if (value === undefined && attribute.required) {
      throw new ApiError(400, `Invalid input for field/attribute ${field}. Mandatory field missing.`);
    }
    if (value !== undefined) values[field] = value;
  }
  // each value has just passed the schema that its type is taken from
  return values as Given<R>;
}

/**
 * What a client asks to change. Null sets an attribute back to its default.
 * @throws {ApiError} 400 naming the attribute
 */
export function valuesForUpdate<R extends Resource>(
  resource: R,
  root: Readonly<Record<string, unknown>>,
): Partial<Row<R>> {
  return readValues(resource, root, (attribute) => attribute.write === "always") as Partial<Row<R>>;
}

export function readValues(
  resource: Resource,
  root: Readonly<Record<string, unknown>>,
  writable: (attribute: Attribute, name: string) => boolean,
): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(root)) {
    const field = key === "tenant_id" ? "project_id" : key;
    const attribute = Object.hasOwn(resource.attributes, field) ? resource.attributes[field] : undefined;
    if (attribute === undefined || attribute.write === "internal") {
      throw new ApiError(400, `Unknown attribute for argument ${resource.name}: ${shortened(key)}`);
    }
    if (!writable(attribute, field)) throw invalidField(key, value, "It can't be set here.");
    values[field] = readValue(key, attribute, value);
  }
  return values;
}

export function readValue(field: string, attribute: Attribute, value: unknown): unknown {
  if (value === null) {
    if (attribute.nullable || attribute.default !== undefined) return attribute.default ?? null;
    throw invalidField(field, value, "It can't be null.");
  }
  const parsed = attribute.schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalidField(field, value, reason(parsed.error));
}

function reason(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return "It is not valid.";
  const where = issue.path.length > 0 ? ` (at ${issue.path.join(".")})` : "";
  return `${issue.message}${where}.`;
}
