/** Operations that are not those which every resource has. */
import { connection } from "../../../agent/protocol.ts";
import { QUOTA_NAMES } from "../../model/resource.ts";
import { ROLES } from "../../roles.ts";
import { CONNECTION_PARAMETERS, REFERENCE_FIELDS } from "../connections.ts";
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

const AS_TEXT: Readonly<Record<string, string>> = {
  include_closed: "Whether also those that have ended a short while ago.",
  limit: "So many at most, 1 to 10,000, in an order that stays.",
  cursor: "Where an earlier answer ended; its link to the next one has it.",
};
const ADDRESS = "An address, or a prefix such as 192.0.2.0/24.";
const PORT = "A port, or a range such as 1024-2047.";
const connectionParameters = CONNECTION_PARAMETERS.map((name) => ({
  name,
  in: "query",
  description: AS_TEXT[name] ?? (name.endsWith("_ip") ? ADDRESS : PORT),
  schema: { type: "string" },
}));

/** @param fields those of a connection that are shown */
function connections(fields: readonly string[]): Schema {
  const properties = Object.fromEntries(
    fields.map((name) => [name, { type: /^(bytes|packets)_/.test(name) ? ["integer", "null"] : ["string", "null"] }]),
  );
  return object({
    connections: { type: "array", items: object(properties) },
    connections_links: reference("Links"),
    missing: { type: "array", items: object({ amphora_id: text, reason: text }) },
  });
}

export function otherOperations(): Paths {
  const get = (path: string, summary: string, answer: Schema): [string, Record<string, Operation>] => [
    path,
    { get: operation(summary, inPath(path), [200, answer]) },
  ];
  const put = (path: string, summary: string, body?: Schema): [string, Record<string, Operation>] => [
    path,
    { put: operation(summary, inPath(path), [202, null], body) },
  ];
  const asking = (name: string, summary: string, fields: readonly string[]): [string, Record<string, Operation>] => {
    const path = `/listeners/{id}/${name}`;
    return [path, { get: operation(summary, [...inPath(path), ...connectionParameters], [200, connections(fields)]) }];
  };
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
    asking("connection", "The connections of a FORWARD_TCP listener; times are UTC", REFERENCE_FIELDS),
    asking(
      "connections",
      "The connections of any listener, with where they go, for administrators; times are UTC",
      Object.keys(connection.shape),
    ),
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
