/** Members, how one of them is chosen, and how they are checked. */
import { z } from "zod";
import {
  checkRetries,
  checkSeconds,
  domainName,
  expectedCodes,
  HEALTH_MONITOR_TYPES,
  HTTP_METHODS,
  HTTP_VERSIONS,
  ipAddress,
  LB_ALGORITHMS,
  POOL_PROTOCOLS,
  persistenceGranularity,
  port,
  SESSION_PERSISTENCE_TYPES,
  token,
  urlPath,
  uuid,
  weight,
} from "../fields.ts";
import { poolTls } from "./tls.ts";

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

const sessionPersistence = z.strictObject({
  type: z.enum(SESSION_PERSISTENCE_TYPES),
  cookie_name: token.nullable().default(null).describe("APP_COOKIE only: the application's cookie"),
  persistence_timeout: checkSeconds
    .default(360)
    .describe("seconds that a client without connections is remembered, on IPVS pools"),
  persistence_granularity: persistenceGranularity
    .nullable()
    .default(null)
    .describe("how much of an address is one client, on IPVS pools; null: all of it"),
});

export const pool = z.strictObject({
  id: uuid,
  admin_state_up: z.boolean().default(true),
  protocol: z.enum(POOL_PROTOCOLS),
  lb_algorithm: z.enum(LB_ALGORITHMS),
  session_persistence: sessionPersistence.nullable().default(null),
  tls: poolTls.nullable().default(null).describe("null: members are spoken to in the clear"),
  members: z.array(member).default([]),
  health_monitor: healthMonitor.nullable().default(null),
});
