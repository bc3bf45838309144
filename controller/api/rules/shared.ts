/** What several resources' rules need. */
import ipaddr from "ipaddr.js";
import { type ListenerProtocol, POOLS_OF_LISTENERS, type PoolProtocol } from "../../../templates/fields.ts";
import { type Listener, listener } from "../../model/listener.ts";
import { type Pool, pool } from "../../model/pool.ts";
import { type Connection, findRow, untyped } from "../../store/rows.ts";
import { ApiError, invalidField, notFound } from "../errors.ts";

/** @throws {ApiError} 404 */
export async function requirePool(db: Connection, id: string): Promise<Pool> {
  const row = await findRow(db, pool, id);
  if (row === undefined) throw notFound(pool.title, id);
  return row;
}

/** @throws {ApiError} 404 */
export async function requireListener(db: Connection, id: string): Promise<Listener> {
  const row = await findRow(db, listener, id);
  if (row === undefined) throw notFound(listener.title, id);
  return row;
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

/** `{id}` lists of related rows, by the value of `key`: one query. */
export async function relatedIds(
  db: Connection,
  table: string,
  key: string,
  ids: readonly string[],
): Promise<Map<string, { id: string }[]>> {
  const found = new Map<string, { id: string }[]>(ids.map((id) => [id, []]));
  if (ids.length === 0) return found;
  const rows = await untyped(db)
    .selectFrom(table)
    .select(["id", key])
    .where(key, "in", ids)
    .orderBy("created_at")
    .orderBy("id")
    .execute();
  for (const row of rows) found.get(String(row[key]))?.push({ id: String(row.id) });
  return found;
}
