/**
 * Connections as agents and controllers speak of them: one record for what the kernel forwards and for what HAProxy
 * serves, and one language to pick some of them out.
 *
 * `GET /v1/connections` takes, each once at most:
 *   listener         a listener's id; without it, all of the amphora
 *   the eight filters of `CONNECTION_FILTERS`; all that are given must match
 *   include_closed   `true`: also connections that have ended a short while ago, as long as the agent remembers them
 *   limit            1 to 10,000: so many at most, in the order of their ids, from the one after `cursor`
 *   cursor           `next` of an earlier answer to the same question
 * It answers with lines of JSON (application/x-ndjson), a `connection` each, and one `connectionsEnd` at last: an answer
 * without it was cut off. Without `limit` they come in no order, as they are read; one that ends meanwhile comes twice,
 * at last as CLOSED.
 */
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { z } from "zod";

const address = z.string();
/** Ports are texts, as in the REST API. */
const portText = z.string();

export const connection = z.object({
  /** stays the same as long as the connection lives, and is unique within its amphora */
  id: z.string(),
  amphora_id: z.string(),
  listener_id: z.string(),
  /** null: what the connection goes to is no pool or member of the spec that runs now, or nothing yet */
  pool_id: z.string().nullable(),
  member_id: z.string().nullable(),
  ip_version: z.enum(["ipv4", "ipv6"]),
  protocol: z.enum(["tcp", "udp", "sctp"]),
  /**
   * The kernel's name of a TCP or SCTP state, such as SYN_SENT or ESTABLISHED; UNREPLIED or REPLIED for UDP; CONNECTING,
   * ESTABLISHED or CLOSING in HAProxy; CLOSED for one that has ended.
   */
  status: z.string(),
  client_src_ip: address,
  client_src_port: portText,
  client_dst_ip: address,
  client_dst_port: portText,
  /** null: HAProxy has no connection to a member (yet) */
  forward_src_ip: address.nullable(),
  forward_src_port: portText.nullable(),
  forward_dst_ip: address.nullable(),
  forward_dst_port: portText.nullable(),
  /** UTC, such as 2024-08-15 14:27:38; when the first packet came, and the last one; null: unknown */
  start_time: z.string().nullable(),
  active_time: z.string().nullable(),
  /** null as long as it lives */
  end_time: z.string().nullable(),
  /** from the client, and to it; packets are null for HAProxy's */
  bytes_in: z.int(),
  bytes_out: z.int(),
  packets_in: z.int().nullable(),
  packets_out: z.int().nullable(),
});
export type Connection = z.output<typeof connection>;

export const connectionsEnd = z.object({
  end: z.object({
    /** where a further question goes on; null: that was all */
    next: z.string().nullable(),
    /** what could not be read, and why; empty: the answer is complete */
    missing: z.array(z.string()),
  }),
});
export type ConnectionsEnd = z.output<typeof connectionsEnd>;

export const CONNECTION_FILTERS = [
  "client_src_ip",
  "client_src_port",
  "client_dst_ip",
  "client_dst_port",
  "forward_src_ip",
  "forward_src_port",
  "forward_dst_ip",
  "forward_dst_port",
] as const;
export type ConnectionField = (typeof CONNECTION_FILTERS)[number];

export const MAX_LIMIT = 10_000;

/** A filter that can't be understood; the message says what is allowed. */
export class FilterError extends Error {
  override readonly name = "FilterError";
  readonly field: string;

  constructor(field: string, message: string) {
    super(`${field} ${message}`);
    this.field = field;
  }
}

/** What one filter allows. */
export interface FieldFilter {
  readonly matches: (text: string) => boolean;
  /** the one value that it allows, in its usual spelling; null when there are several */
  readonly exact: string | null;
  /** of an address */
  readonly family: 4 | 6 | null;
}

export type ConnectionFilter = Readonly<Partial<Record<ConnectionField, FieldFilter>>>;

/**
 * Reads filters: an address may be IPv4 or IPv6, or a prefix such as 192.0.2.0/24; a port may be a range such as
 * 1024-2047.
 * @throws {FilterError}
 */
export function parseFilter(given: Readonly<Partial<Record<ConnectionField, string>>>): ConnectionFilter {
  const filter: Partial<Record<ConnectionField, FieldFilter>> = {};
  for (const field of CONNECTION_FILTERS) {
    const text = given[field];
    if (text !== undefined)
      filter[field] = field.endsWith("_ip") ? addressFilter(field, text) : portFilter(field, text);
  }
  return filter;
}

/** Whether a connection is one of those that a filter picks out. What it does not have yet is matched by nothing. */
export function matches(filter: ConnectionFilter, one: Pick<Connection, ConnectionField>): boolean {
  for (const field of CONNECTION_FILTERS) {
    const allowed = filter[field];
    if (allowed === undefined) continue;
    const value = one[field];
    if (value === null || !allowed.matches(value)) return false;
  }
  return true;
}

function addressFilter(field: string, text: string): FieldFilter {
  const [address = "", length, ...rest] = text.split("/");
  const version = address.includes("%") ? 0 : isIP(address);
  const bits = version === 4 ? 32 : 128;
  const valid = version !== 0 && rest.length === 0 && (length === undefined || /^(0|[1-9]\d{0,2})$/.test(length));
  if (!valid || Number(length ?? 0) > bits) {
    throw new FilterError(field, "must be an address, or a prefix such as 192.0.2.0/24 or 2001:db8::/64");
  }
  const wanted = ipaddr.parse(address);
  const family = version === 4 ? 4 : 6;
  if (length === undefined || Number(length) === bits) {
    const exact = wanted.toString();
    return { exact, family, matches: (each) => each === exact };
  }
  const within = (each: string) => {
    const other = ipaddr.parse(each);
    return other.kind() === wanted.kind() && other.match(wanted, Number(length));
  };
  return { exact: null, family, matches: (each) => each.includes(":") === (family === 6) && within(each) };
}

function portFilter(field: string, text: string): FieldFilter {
  const [, from = "", to = from] = /^([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?$/.exec(text) ?? [];
  const [low, high] = [Number(from), Number(to)];
  if (from === "" || low > high || high > 65_535) {
    throw new FilterError(field, "must be a port from 1 to 65535, or a range such as 1024-2047");
  }
  if (low === high) return { exact: String(low), family: null, matches: (each) => each === String(low) };
  return { exact: null, family: null, matches: (each) => Number(each) >= low && Number(each) <= high };
}

/** `2024-08-15 14:27:38`, UTC. @param time ms since 1970 */
export function timeText(time: number): string {
  return new Date(time).toISOString().slice(0, 19).replace("T", " ");
}
