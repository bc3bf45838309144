import { healthMonitor } from "../../model/health-monitor.ts";
import { ApiError } from "../errors.ts";
import { listenersOf } from "./pool.ts";
import type { PartRules } from "./rules.ts";
import { requirePool } from "./shared.ts";

/** What only a monitor that speaks HTTP has, and what it has unless it was set. */
const HTTP_DEFAULTS = { http_method: "GET", url_path: "/", expected_codes: "200" } as const;
const HTTP_ONLY = ["http_method", "url_path", "expected_codes", "http_version", "domain_name"] as const;

export const healthMonitorRules: PartRules<typeof healthMonitor> = {
  resource: healthMonitor,

  async home(db, given) {
    return (await requirePool(db, given.pool_id ?? "")).loadbalancer_id;
  },

  async create({ trx }, given) {
    const pool = await requirePool(trx, given.pool_id ?? "");
    if (pool.doomed) throw new ApiError(409, `Pool ${pool.id} is being deleted.`);
    const other = await trx
      .selectFrom("health_monitors")
      .select("id")
      .where("pool_id", "=", pool.id)
      .where("doomed", "=", false)
      .executeTakeFirst();
    if (other !== undefined) throw new ApiError(409, `This pool already has a health monitor: ${other.id}.`);
    if (given.type !== "HTTP") {
      checkNoHttp(given.type ?? "", given);
      return {};
    }
    return {
      http_method: given.http_method ?? HTTP_DEFAULTS.http_method,
      url_path: given.url_path ?? HTTP_DEFAULTS.url_path,
      expected_codes: given.expected_codes ?? HTTP_DEFAULTS.expected_codes,
    };
  },

  async update(_context, row, patch) {
    if (row.type !== "HTTP") {
      checkNoHttp(row.type, patch);
      return patch;
    }
    const unset = Object.keys(HTTP_DEFAULTS).filter((field) => patch[field as keyof typeof HTTP_DEFAULTS] === null);
    const defaults = Object.entries(HTTP_DEFAULTS).filter(([field]) => unset.includes(field));
    return { ...patch, ...Object.fromEntries(defaults) };
  },

  async remove() {},

  async concerned({ trx }, row) {
    return { pools: [row.pool_id], listeners: await listenersOf(trx, row.pool_id) };
  },

  async views(_db, rows) {
    return new Map(rows.map((row) => [row.id, { pools: [{ id: row.pool_id }] }]));
  },
};

function checkNoHttp(type: string, given: Readonly<Record<string, unknown>>): void {
  const field = HTTP_ONLY.find((name) => given[name] !== undefined && given[name] !== null);
  if (field === undefined) return;
  throw new ApiError(400, `${field} is not a valid option for health monitors of type ${type}.`);
}
