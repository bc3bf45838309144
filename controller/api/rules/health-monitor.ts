import type { HealthMonitorType, PoolProtocol } from "../../../templates/fields.ts";
import { monitorFault } from "../../../templates/spec.ts";
import { type HealthMonitor, healthMonitor } from "../../model/health-monitor.ts";
import { pool } from "../../model/pool.ts";
import { ApiError, invalidField } from "../errors.ts";
import { membersConcern } from "./member.ts";
import type { PartRules } from "./rules.ts";
import { requireRow, requireStaying } from "./shared.ts";

/** What only a monitor that speaks HTTP has, and what it has unless it was set. */
const HTTP_DEFAULTS = { http_method: "GET", url_path: "/", expected_codes: "200" } as const;
const HTTP_ONLY = ["http_method", "url_path", "expected_codes", "http_version", "domain_name"] as const;
/** A member that drops what it is sent is found out only by the answer that does not come (seconds, as in Octavia). */
const SHORTEST_UDP_DELAY = 3;

export const healthMonitorRules: PartRules<typeof healthMonitor> = {
  resource: healthMonitor,

  async home(db, given) {
    return (await requireRow(db, pool, given.pool_id ?? "")).loadbalancer_id;
  },

  async create(change, row) {
    const target = await requireStaying(change, pool, row.pool_id);
    const [other] = await change.findAll(healthMonitor, { pool_id: row.pool_id });
    if (other !== undefined) throw new ApiError(409, `This pool already has a health monitor: ${other.id}.`);
    return checked(row, target.protocol);
  },

  async update(change, row, patch) {
    const { protocol } = await requireStaying(change, pool, row.pool_id);
    return checked({ ...row, ...patch }, protocol);
  },

  async remove() {},

  async concerned(change, row) {
    return membersConcern(change, row.pool_id);
  },

  async views(_db, rows) {
    return new Map(rows.map((row) => [row.id, { pools: [{ id: row.pool_id }] }]));
  },
};

/** The monitor with what follows from its values. @throws {ApiError} 400 when they do not go with each other, or the pool */
function checked(row: HealthMonitor, protocol: PoolProtocol): HealthMonitor {
  const fault = monitorFault(protocol, { ...row, http_method: row.http_method ?? HTTP_DEFAULTS.http_method });
  if (fault !== null) throw invalidField(fault.field, row[fault.field], `It ${fault.message}.`);
  if (row.type === "UDP-CONNECT" && row.delay < SHORTEST_UDP_DELAY) {
    throw invalidField("delay", row.delay, `It must be at least ${SHORTEST_UDP_DELAY} for UDP-CONNECT.`);
  }
  if (!speaksHttp(row.type)) {
    const field = HTTP_ONLY.find((name) => row[name] !== null);
    if (field === undefined) return row;
    throw new ApiError(400, `${field} is not a valid option for health monitors of type ${row.type}.`);
  }
  if (row.domain_name !== null && row.http_version !== 1.1) {
    throw invalidField("domain_name", row.domain_name, "It requires http_version 1.1.");
  }
  return {
    ...row,
    http_method: row.http_method ?? HTTP_DEFAULTS.http_method,
    url_path: row.url_path ?? HTTP_DEFAULTS.url_path,
    expected_codes: row.expected_codes ?? HTTP_DEFAULTS.expected_codes,
  };
}

export function speaksHttp(type: HealthMonitorType): boolean {
  return type === "HTTP" || type === "HTTPS";
}
