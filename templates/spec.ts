/**
 * The one document an amphora is made from. The controller sends the whole of it (`PUT /v1/spec`); everything on the
 * instance follows from it. Names are spelled as the REST API spells them.
 */
import { z } from "zod";
import {
  checkRetries,
  checkSeconds,
  connectionLimit,
  domainName,
  expectedCodes,
  HEALTH_MONITOR_TYPES,
  HTTP_METHODS,
  HTTP_VERSIONS,
  ipAddress,
  LB_ALGORITHMS,
  LISTENER_PROTOCOLS,
  macAddress,
  milliseconds,
  POOL_PROTOCOLS,
  port,
  prefix,
  urlPath,
  uuid,
  weight,
} from "./fields.ts";

const route = z.strictObject({
  destination: prefix,
  via: ipAddress,
});

const networkInterface = z.strictObject({
  name: z
    .string()
    .regex(/^(?!(?:lo|all|default)$)[a-z][a-z0-9]{0,14}$/, "must be a short interface name such as eth1")
    .describe("what the interface is called inside the namespace"),
  mac: macAddress.describe("how the interface is recognised when it is plugged in"),
  mtu: z.int().min(1280).max(65_535).default(1500),
  addresses: z
    .array(prefix)
    .describe("the amphora's own addresses; the first of a family is the source of its connections"),
  routes: z.array(route).default([]),
});

const member = z.strictObject({
  id: uuid,
  admin_state_up: z.boolean().default(true),
  address: ipAddress,
  protocol_port: port,
  weight: weight.default(1).describe("0 drains: connections go on, no new ones arrive"),
  backup: z.boolean().default(false).describe("gets traffic only when every other member is down"),
  monitor_address: ipAddress.nullable().default(null).describe("null: the member's address"),
  monitor_port: port.nullable().default(null).describe("null: the member's protocol_port"),
});

const healthMonitor = z.strictObject({
  id: uuid,
  admin_state_up: z.boolean().default(true),
  type: z.enum(HEALTH_MONITOR_TYPES),
  delay: checkSeconds.describe("seconds between two checks"),
  timeout: checkSeconds.describe("seconds until a check has failed"),
  max_retries: checkRetries.default(3).describe("successes until a member is up"),
  max_retries_down: checkRetries.default(3).describe("failures until a member is down"),
  http_method: z.enum(HTTP_METHODS).default("GET"),
  http_version: z.literal(HTTP_VERSIONS).default(1.0),
  url_path: urlPath.default("/"),
  expected_codes: expectedCodes.default("200"),
  domain_name: domainName
    .nullable()
    .default(null)
    .describe("the Host header of a check; null: none in HTTP/1.0, the first VIP in HTTP/1.1"),
});

const pool = z.strictObject({
  id: uuid,
  admin_state_up: z.boolean().default(true),
  protocol: z.enum(POOL_PROTOCOLS),
  lb_algorithm: z.enum(LB_ALGORITHMS),
  members: z.array(member).default([]),
  health_monitor: healthMonitor.nullable().default(null),
});

const listener = z.strictObject({
  id: uuid,
  admin_state_up: z.boolean().default(true),
  protocol: z.enum(LISTENER_PROTOCOLS),
  protocol_port: port,
  default_pool_id: uuid.nullable().default(null),
  connection_limit: connectionLimit.default(-1),
  timeout_client_data: milliseconds.default(50_000),
  timeout_member_connect: milliseconds.default(5_000),
  timeout_member_data: milliseconds.default(50_000),
  timeout_tcp_inspect: milliseconds.default(0),
});

const shape = z.strictObject({
  revision: z.int().min(1).describe("raised by the controller with every change; an older one is refused"),
  amphora_id: uuid,
  loadbalancer_id: uuid,
  role: z.enum(["STANDALONE"]),
  admin_state_up: z.boolean().default(true).describe("false: nothing listens"),
  interfaces: z.array(networkInterface).default([]),
  vips: z.array(ipAddress).min(1).describe("the addresses that clients connect to; on the first interface"),
  listeners: z.array(listener).default([]),
  pools: z.array(pool).default([]),
});

type Shape = z.output<typeof shape>;

/** The document as a controller writes it: what has a default may be left out. */
export type AmphoraSpecInput = z.input<typeof shape>;
/** The document with every default in place. */
export type AmphoraSpec = Shape;
export type ListenerSpec = Shape["listeners"][number];
export type PoolSpec = Shape["pools"][number];
export type MemberSpec = PoolSpec["members"][number];
export type HealthMonitorSpec = NonNullable<PoolSpec["health_monitor"]>;
export type InterfaceSpec = Shape["interfaces"][number];

/** What is wrong with a spec, and where: `path` such as `pools[0].members[2].weight`. */
export interface SpecProblem {
  readonly path: string;
  readonly message: string;
}

/** A document that is no valid spec. `problems` names each fault. */
export class SpecError extends Error {
  override readonly name = "SpecError";
  readonly problems: readonly SpecProblem[];

  constructor(problems: readonly SpecProblem[]) {
    super(problems.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; "));
    this.problems = problems;
  }
}

/**
 * Checks a document and fills in its defaults.
 * @throws {SpecError} naming every field that is missing, unknown or out of its range, and every broken reference
 */
export function parseSpec(document: unknown): AmphoraSpec {
  const parsed = shape.safeParse(document);
  if (!parsed.success) {
    throw new SpecError(parsed.error.issues.map((issue) => ({ path: pathText(issue.path), message: issue.message })));
  }
  const problems = relationProblems(parsed.data);
  if (problems.length > 0) throw new SpecError(problems);
  return parsed.data;
}

/** The rules that span several objects: unique ids, ports and addresses, references that resolve. */
function relationProblems(spec: AmphoraSpec): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const unique = (seen: Map<string, string>, key: string, path: string, what: string) => {
    const first = seen.get(key);
    if (first === undefined) seen.set(key, path);
    else problems.push({ path, message: `${what} ${key} is used by ${first} already` });
  };

  const ids = new Map<string, string>();
  const listenerPorts = new Map<string, string>();
  const pools = new Map(spec.pools.map((each) => [each.id, each]));
  const names = new Map<string, string>();
  const macs = new Map<string, string>();

  spec.interfaces.forEach((each, i) => {
    unique(names, each.name, `interfaces[${i}].name`, "name");
    unique(macs, each.mac, `interfaces[${i}].mac`, "address");
    each.routes.forEach(({ destination, via }, j) => {
      if (destination.includes(":") === via.includes(":")) return;
      const path = `interfaces[${i}].routes[${j}].via`;
      problems.push({ path, message: `${via} can't lead to ${destination}: one is IPv4, the other IPv6` });
    });
  });
  spec.listeners.forEach((each, i) => {
    unique(ids, each.id, `listeners[${i}].id`, "id");
    unique(listenerPorts, String(each.protocol_port), `listeners[${i}].protocol_port`, "port");
    if (each.default_pool_id === null) return;
    const target = pools.get(each.default_pool_id);
    const path = `listeners[${i}].default_pool_id`;
    if (target === undefined) problems.push({ path, message: `there is no pool ${each.default_pool_id}` });
    else if (target.protocol !== each.protocol) {
      problems.push({ path, message: `a ${each.protocol} listener can't use a ${target.protocol} pool` });
    }
  });
  spec.pools.forEach((each, i) => {
    unique(ids, each.id, `pools[${i}].id`, "id");
    const addresses = new Map<string, string>();
    each.members.forEach((one, j) => {
      const path = `pools[${i}].members[${j}]`;
      unique(ids, one.id, `${path}.id`, "id");
      unique(addresses, `${one.address} port ${one.protocol_port}`, path, "address");
    });
  });
  return problems;
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, key) => (typeof key === "number" ? `${text}[${key}]` : text === "" ? String(key) : `${text}.${String(key)}`),
    "",
  );
}
