/** Operations that are not those which every resource has. */
import { QUOTA_NAMES } from "../../model/resource.ts";
import { ROLES } from "../../roles.ts";
import { inPath, type Operation, operation, type Paths, under } from "./operations.ts";
import { reference, type Schema } from "./schemas.ts";

const whole: Schema = { type: "integer" };
const text: Schema = { type: "string" };

function object(properties: Record<string, Schema>): Schema {
  return { type: "object", properties, required: Object.keys(properties) };
}

const counters = object({
  active_connections: whole,
  bytes_in: whole,
  bytes_out: whole,
  request_errors: whole,
  total_connections: whole,
});
const amphoraCounters = object({
  ...(counters.properties as Record<string, Schema>),
  id: text,
  listener_id: text,
  loadbalancer_id: text,
});
const limits = {
  type: "object",
  properties: Object.fromEntries(
    [...QUOTA_NAMES, "loadbalancer", "healthmonitor"].map((name) => [name, { type: ["integer", "null"], minimum: -1 }]),
  ),
} satisfies Schema;
const capabilities: Schema = { type: "array", items: object({ name: text, description: text }) };

const when: Schema = { type: "string", format: "date-time" };
const controller = object({
  id: text,
  host: text,
  version: text,
  roles: { type: "array", items: { enum: [...ROLES] } },
  heartbeat_address: { type: ["string", "null"] },
  heartbeat_port: { type: ["integer", "null"] },
  state: { enum: ["UP", "HOLDING_BACK", "STOPPED", "LOST"] },
  started_at: when,
  seen_at: when,
  amphorae: whole,
  silent_amphorae: whole,
});

export function otherOperations(): Paths {
  const get = (path: string, summary: string, answer: Schema): [string, Record<string, Operation>] => [
    path,
    { get: operation(summary, inPath(path), [200, answer]) },
  ];
  const put = (path: string, summary: string, body?: Schema): [string, Record<string, Operation>] => [
    path,
    { put: operation(summary, inPath(path), [202, null], body) },
  ];
  const additive = {
    name: "additive_only",
    in: "query",
    description: "Whether other members stay.",
    schema: { type: "boolean" },
  };
  const members = under("members", { type: "array", items: reference("MemberCreate") });
  return Object.fromEntries([
    put("/loadbalancers/{id}/failover", "Replace the amphorae of a load balancer"),
    get("/loadbalancers/{id}/stats", "What a load balancer counts", under("stats", counters)),
    get("/loadbalancers/{id}/status", "The statuses of everything within", under("statuses", { type: "object" })),
    get("/loadbalancers/{id}/statuses", "The statuses of everything within", under("statuses", { type: "object" })),
    get("/listeners/{id}/stats", "What a listener counts", under("stats", counters)),
    [
      "/pools/{pool_id}/members",
      { put: operation("Set all members", [...inPath("/pools/{pool_id}/members"), additive], [202, null], members) },
    ],
    put("/amphorae/{id}/failover", "Replace an amphora"),
    put("/amphorae/{id}/config", "Give an amphora its specification anew"),
    get(
      "/amphorae/{id}/stats",
      "What an amphora counts",
      under("amphora_stats", { type: "array", items: amphoraCounters }),
    ),
    ["/amphorae/{id}", { delete: operation("Replace an amphora in ERROR", inPath("/amphorae/{id}"), [204, null]) }],
    get(
      "/quotas",
      "List the quotas of projects",
      object({ quotas: { type: "array", items: limits }, quotas_links: reference("Links") }),
    ),
    get("/quotas/defaults", "The quota of projects without one of their own", under("quota", limits)),
    get("/quotas/{project_id}/default", "The same", under("quota", limits)),
    [
      "/quotas/{project_id}",
      {
        get: operation("A project's quota", inPath("/quotas/{project_id}"), [200, under("quota", limits)]),
        put: operation(
          "Set a quota",
          inPath("/quotas/{project_id}"),
          [202, under("quota", limits)],
          under("quota", limits),
        ),
        delete: operation("Set a quota back to the default", inPath("/quotas/{project_id}"), [204, null]),
      },
    ],
    get(
      "/controllers",
      "The controllers of the deployment",
      object({ controllers: { type: "array", items: controller } }),
    ),
    get("/providers", "List providers", object({ providers: capabilities, providers_links: reference("Links") })),
    ...["flavor_capabilities", "availability_zone_capabilities"].map((kind) =>
      get(`/providers/{name}/${kind}`, "What a provider understands", under(kind, capabilities)),
    ),
  ]);
}
