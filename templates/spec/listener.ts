/** Where clients connect, and what they may. */
import { z } from "zod";
import { connectionLimit, INSERT_HEADERS, LISTENER_PROTOCOLS, milliseconds, port, prefix, uuid } from "../fields.ts";
import { l7policy } from "./l7policy.ts";
import { listenerTls } from "./tls.ts";

const HEADER_NAMES = Object.keys(INSERT_HEADERS) as (keyof typeof INSERT_HEADERS)[];

export const listener = z.strictObject({
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
  allowed_cidrs: z.array(prefix).min(1).nullable().default(null).describe("who may connect; null: everybody"),
  insert_headers: z.array(z.enum(HEADER_NAMES)).default([]).describe("added to requests"),
  tls: listenerTls.nullable().default(null).describe("TERMINATED_HTTPS only"),
  redirect_listener_id: uuid
    .nullable()
    .default(null)
    .describe("HTTP only: every request is answered 301, to the port of that TERMINATED_HTTPS listener"),
  l7policies: z.array(l7policy).default([]).describe("the first that matches decides"),
});
