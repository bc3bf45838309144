/** The description of the API (OpenAPI 3.1), from the same declarations that serve it. */
import packageJson from "../../../package.json" with { type: "json" };
import { amphora } from "../../model/amphora.ts";
import { loadBalancer } from "../../model/load-balancer.ts";
import type { Resource } from "../../model/resource.ts";
import { RESOURCES } from "../../model/resources.ts";
import { filterNames } from "../filters.ts";
import { AMPHORAE, cataloguePaths, LOAD_BALANCERS, PART_PATHS } from "../paths.ts";
import { inPath, json, operation, type Paths, under } from "./operations.ts";
import { otherOperations } from "./others.ts";
import { reference, resourceSchemas, type Schema, typeName } from "./schemas.ts";

interface Kind {
  readonly resource: Resource;
  readonly path: string;
  readonly writable: boolean;
  /** answer to a PUT */
  readonly updated: 200 | 202;
}

/** @param computeFlavors the sizes of amphorae that the deployment has */
export function openApiDocument(computeFlavors: readonly string[]) {
  const kinds: Kind[] = [
    { resource: loadBalancer, path: LOAD_BALANCERS, writable: true, updated: 202 },
    ...PART_PATHS.map(({ rules, path }) => ({ resource: rules.resource, path, writable: true, updated: 202 as const })),
    ...cataloguePaths(computeFlavors).map(({ resource, path }) => ({
      resource,
      path,
      writable: true,
      updated: 200 as const,
    })),
    { resource: amphora, path: AMPHORAE, writable: false, updated: 202 },
  ];
  const paths: Paths = {};
  for (const kind of kinds) {
    for (const [path, methods] of Object.entries(pathsOf(kind))) paths[path] = { ...paths[path], ...methods };
  }
  for (const [path, methods] of Object.entries(otherOperations())) paths[path] = { ...paths[path], ...methods };
  return {
    openapi: "3.1.1",
    info: {
      title: "Amphora",
      version: packageJson.version,
      description: "Load balancing as a service: an Octavia v2 API.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/v2.0/lbaas" }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: "apiKey", in: "header", name: "X-Auth-Token" } },
      schemas: { ...Object.assign({}, ...RESOURCES.map(resourceSchemas)), ...COMMON_SCHEMAS },
      responses: { Fault: { description: "What is wrong, and with what.", content: json(reference("Fault")) } },
    },
  };
}

const COMMON_SCHEMAS: Record<string, Schema> = {
  Fault: {
    type: "object",
    properties: {
      error: {
        type: "object",
        properties: { message: { type: "string" }, code: { type: "integer" }, title: { type: "string" } },
        required: ["message", "code", "title"],
      },
      faultcode: { type: "string", enum: ["Client", "Server"] },
      faultstring: { type: "string" },
      debuginfo: { type: "null" },
    },
    required: ["error", "faultcode", "faultstring", "debuginfo"],
  },
  Links: {
    type: "array",
    items: {
      type: "object",
      properties: { rel: { type: "string", enum: ["next", "previous"] }, href: { type: "string" } },
      required: ["rel", "href"],
    },
  },
};

/** `/pools/:pool_id/members` -> `/pools/{pool_id}/members`. */
export function templated(path: string): string {
  return path.replace(/:([a-z0-9_]+)/g, "{$1}");
}

function pathsOf({ resource, path, writable, updated }: Kind): Paths {
  const { name, plural, title } = resource;
  const type = typeName(resource);
  const list = templated(path);
  const one = `${list}/{${resource.key}}`;
  const shownOne = under(name, reference(type));
  const shownAll = {
    type: "object",
    properties: { [plural]: { type: "array", items: reference(type) }, [`${plural}_links`]: reference("Links") },
    required: [plural, `${plural}_links`],
  };
  const fields = query("fields", "Which attributes to show; all unless given.", {
    type: "array",
    items: { type: "string" },
  });
  const reads: Paths = {
    [list]: {
      get: operation(`List: ${title}`, [...inPath(list), fields, ...listParameters(resource)], [200, shownAll]),
    },
    [one]: { get: operation(`Show: ${title}`, [...inPath(one), fields], [200, shownOne]) },
  };
  if (!writable) return reads;
  const create = under(name, reference(`${type}Create`));
  const update = under(name, reference(`${type}Update`));
  return {
    [list]: { ...reads[list], post: operation(`Create: ${title}`, inPath(list), [201, shownOne], create) },
    [one]: {
      ...reads[one],
      put: operation(`Change: ${title}`, inPath(one), [updated, shownOne], update),
      delete: operation(`Delete: ${title}`, [...inPath(one), ...cascade(resource)], [resource.deleteStatus, null]),
    },
  };
}

function cascade(resource: Resource): Schema[] {
  if (resource !== loadBalancer) return [];
  return [query("cascade", "Whether to delete its parts with it.", { type: "boolean", default: false })];
}

function query(name: string, description: string, schema: Schema): Schema {
  return { name, in: "query", description, schema };
}

function listParameters(resource: Resource): Schema[] {
  const text = { type: "string" };
  return [
    query("limit", "Most objects in the answer.", { type: "integer", minimum: 1, maximum: 1000 }),
    query("marker", "The key of the last object of the page before.", text),
    query("sort", "Attributes to sort by, each with :asc or :desc, joined by commas.", text),
    query("page_reverse", "Whether the page before the marker is wanted.", { type: "boolean" }),
    ...filterNames(resource).map(({ name, doc }) => query(name, doc, text)),
  ];
}
