/** What several resources' rules need. */
import ipaddr from "ipaddr.js";
import { type ListenerProtocol, POOLS_OF_LISTENERS, type PoolProtocol } from "../../../templates/fields.ts";
import type { LoadBalancer } from "../../model/load-balancer.ts";
import { pool } from "../../model/pool.ts";
import type { Resource, Row } from "../../model/resource.ts";
import { type Connection, findRow, untyped } from "../../store/rows.ts";
import type { Change } from "../change.ts";
import { ApiError, invalidField, notFound } from "../errors.ts";

/** @throws {ApiError} 404 */
export async function requireRow<R extends Resource>(db: Connection, resource: R, id: string): Promise<Row<R>> {
  const row = await findRow(db, resource, id);
  if (row === undefined) throw notFound(resource.title, id);
  return row;
}

/** A part of the change's load balancer that is to stay. @throws {ApiError} 404, 409 when it is being deleted */
export async function requireStaying<R extends Resource>(change: Change, resource: R, id: string): Promise<Row<R>> {
  const row = await change.find(resource, id);
  if (row === undefined) throw notFound(resource.title, id);
  const { doomed }: Readonly<Record<string, unknown>> = row;
  if (doomed === true) throw new ApiError(409, `${resource.title} ${id} is being deleted.`);
  return row;
}

/**
 * A pool that a listener or policy is to send to.
 * @throws {ApiError} 404 when there is no such pool, else 400 naming the field
 */
export async function checkTarget(
  change: Change,
  field: string,
  poolId: string | null,
  protocol: ListenerProtocol,
): Promise<void> {
  if (poolId === null) return;
  const target = await change.find(pool, poolId);
  if (target === undefined) {
    if ((await findRow(change.trx, pool, poolId)) === undefined) throw notFound(pool.title, poolId);
    throw invalidField(field, poolId, "The pool belongs to another load balancer.");
  }
  if (target.doomed) throw invalidField(field, poolId, "The pool is being deleted.");
  checkProtocols(protocol, target.protocol);
}

/** @throws {ApiError} 400 */
export function checkProtocols(listenerProtocol: ListenerProtocol, poolProtocol: PoolProtocol): void {
  if (POOLS_OF_LISTENERS[listenerProtocol].includes(poolProtocol)) return;
  throw new ApiError(
    400,
    `Validation failure: The pool protocol '${poolProtocol}' is invalid while the listener protocol is '${listenerProtocol}'.`,
  );
}

/**
 * The address of a member, in its shortest spelling.
 * @throws {ApiError} 400 for addresses that no member can have: an amphora's own, and those that name no single host
 */
export function memberAddress(field: string, text: string): string {
  const address = ipaddr.parse(text);
  const range = address.range();
  if (["unspecified", "broadcast", "multicast", "loopback", "linkLocal", "ipv4Mapped"].includes(range)) {
    throw invalidField(field, text, `It must be the address of a host; this one is ${range}.`);
  }
  return address.toString();
}

/**
 * @param address of either family, or a prefix
 * @throws {ApiError} 400 when no VIP is of its family
 */
export function checkFamily(field: string, address: string, { vip_address, additional_vips }: LoadBalancer): void {
  const vips = [vip_address, ...additional_vips.flatMap(({ ip_address }) => ip_address ?? [])];
  if (vips.some((vip) => vip.includes(":") === address.includes(":"))) return;
  throw invalidField(field, address, `The load balancer has no VIP of that family, but ${vips.join(", ")}.`);
}

/** `{id}` lists of related rows, by the value of `key`: one query. */
export async function relatedIds(
  db: Connection,
  table: string,
  key: string,
  ids: readonly string[],
  order = "created_at",
): Promise<Map<string, { id: string }[]>> {
  const found = new Map<string, { id: string }[]>(ids.map((id) => [id, []]));
  if (ids.length === 0) return found;
  const rows = await untyped(db)
    .selectFrom(table)
    .select(["id", key])
    .where(key, "in", ids)
    .orderBy(order)
    .orderBy("id")
    .execute();
  for (const row of rows) found.get(String(row[key]))?.push({ id: String(row.id) });
  return found;
}
