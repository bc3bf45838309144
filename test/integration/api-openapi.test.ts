/** The description of the API is valid, and true: of every path, every answer and every refusal. */
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020 } from "ajv/dist/2020.js";
import t from "tap";
import { openApiDocument } from "../../controller/api/openapi/document.ts";
import { isObject, type Json, startApi, type TestApi } from "../support/api.ts";
import { placesOf } from "../support/api-attributes.ts";
import { SQLITE } from "../support/postgres.ts";

const DOCUMENT = "//v2.0/openapi.json";

t.test("anybody can have it, and it is valid OpenAPI", async (t) => {
  const api = await startApi(t, SQLITE);
  const answer = await api.call("GET", DOCUMENT, undefined, { token: "" });
  t.equal(answer.status, 200);
  const { valid, errors } = await new Validator().validate(answer.body);
  t.ok(valid, JSON.stringify(errors)?.slice(0, 1000));
  t.match(answer.body.openapi, /^3\.1\./);
});

t.test("it names every path and method that is served, and no other", async (t) => {
  const api = await startApi(t, SQLITE);
  const described = Object.entries(openApiDocument([]).paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{\w+\}/g, "{}")}`),
  );
  t.strictSame(described.sort(), [...new Set(api.routes())].sort());
});

t.test("what is answered is as it says", async (t) => {
  const api = await startApi(t, SQLITE);
  const graph = await api.graph();
  const check = checker(await description(api));
  for (const { resource, list, one, valid } of placesOf(graph)) {
    for (const [method, path, body] of [
      ["GET", list],
      ["GET", one],
      ["GET", `${list}/nobody`],
      ["PUT", one, { [resource.name]: {} }],
      ["PUT", one, { [resource.name]: { nothing: 1 } }],
      ["POST", list, { [resource.name]: valid }],
      ["POST", list, {}],
    ] as const) {
      const answer = await api.call(method, path, body);
      t.strictSame(check(method, path, answer.status, answer.body), [], `${method} ${path}: ${answer.text}`);
      await api.reconciler.settle();
    }
  }
  const others = ["/quotas", "/quotas/defaults", "/quotas/admin", "/quotas/admin/default", "/providers", "/amphorae"];
  const within = [
    `/loadbalancers/${graph.lb}/stats`,
    `/loadbalancers/${graph.lb}/status`,
    `/listeners/${graph.listener}/stats`,
  ];
  const capabilities = ["/providers/amphora/flavor_capabilities", "/providers/octavia/availability_zone_capabilities"];
  for (const path of [...others, ...within, ...capabilities]) {
    const answer = await api.call("GET", path);
    t.equal(answer.status, 200, path);
    t.strictSame(check("GET", path, answer.status, answer.body), [], `${path}: ${answer.text}`);
  }
});

t.test("a body that it allows is taken, and one that it forbids is not", async (t) => {
  const api = await startApi(t, SQLITE);
  const places = placesOf(await api.graph());
  const { components } = await description(api);
  const ajv = new Ajv2020({ strict: false });
  ajv.addSchema({ $id: "api", components });
  for (const { resource, valid } of places) {
    const type = resource.name.replace(/(^|_)([a-z])/g, (_all, _before, letter: string) => letter.toUpperCase());
    const allowed = ajv.compile({ $ref: `api#/components/schemas/${type}Create` });
    t.ok(allowed(valid), `${type}: ${JSON.stringify(allowed.errors)}`);
    t.notOk(allowed({ ...valid, nothing: 1 }), `${type} with an unknown attribute`);
    t.notOk(allowed({ ...valid, admin_state_up: "yes" }), `${type} with a wrong type`);
    for (const field of Object.keys(valid)) {
      const { [field]: _, ...rest } = valid;
      const required = resource.attributes[field]?.required === true;
      t.equal(allowed(rest), !required, `${type} without ${field}`);
    }
  }
});

interface Description {
  readonly paths: Record<string, Record<string, Json>>;
  readonly components: Json;
}

async function description(api: TestApi): Promise<Description> {
  const { body } = await api.call("GET", DOCUMENT);
  if (!isObject(body.paths) || !isObject(body.components)) throw new Error("there is no description");
  return { paths: body.paths as Description["paths"], components: body.components };
}

/** Says what of an answer is not as described. */
function checker({ paths, components }: Description) {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  ajv.addSchema({ $id: "api", components });
  return (method: string, path: string, status: number, body: Json): string[] => {
    const template = Object.keys(paths).find((each) => matches(each, path));
    const operation = template === undefined ? undefined : paths[template]?.[method.toLowerCase()];
    if (operation === undefined) return [`${method} ${path} is not described`];
    const responses = operation.responses as Record<string, Json>;
    const response = responses[status] ?? (status >= 400 ? (components.responses as { Fault: Json }).Fault : undefined);
    if (response === undefined) return [`status ${status} is not described`];
    const schema = (response.content as { "application/json": { schema: object } })["application/json"].schema;
    const text = JSON.stringify(schema).replaceAll('"#/', '"api#/');
    const validate = ajv.compile(JSON.parse(text));
    return validate(body) ? [] : (validate.errors ?? []).map((each) => `${each.instancePath} ${each.message}`);
  };
}

/** Paths without parameters come before those that they would fit. */
function matches(template: string, path: string): boolean {
  const [parts, given] = [template.split("/"), path.split("/")];
  return parts.length === given.length && parts.every((part, i) => part.startsWith("{") || part === given[i]);
}
