/** Reading and writing the rows of any resource. */
import type { Kysely } from "kysely";
import type { Resource, Row } from "../model/resource.ts";
import type { Database, Store, Trx } from "./database.ts";

export type Connection = Database | Trx;
/** Tables by a name that is known only when the program runs. */
export type AnyTables = Record<string, Record<string, unknown>>;

/** The connection, for tables by name. The one place where the compiler is told so: names come from declarations. */
export function untyped(connection: Connection): Kysely<AnyTables> {
  return connection as unknown as Kysely<AnyTables>;
}

/** The names of a resource's columns, in the order of their declaration. */
export function columnsOf(resource: Resource): string[] {
  return Object.entries(resource.attributes)
    .filter(([, attribute]) => attribute.column !== null)
    .map(([name]) => name);
}

/**
 * What the database gave, as the resource's row. The type is a promise of the migrations; a test holds the tables of
 * both databases against the declarations.
 */
export function asRow<R extends Resource>(_resource: R, raw: Record<string, unknown>): Row<R> {
  return raw as Row<R>;
}

/** A new row: what is not given has its declared default. @throws {TypeError} for a column that has neither */
export function newRow<R extends Resource>(resource: R, given: Readonly<Record<string, unknown>>): Row<R> {
  const row: Record<string, unknown> = {};
  for (const [name, attribute] of Object.entries(resource.attributes)) {
    if (attribute.column === null) continue;
    const value = given[name] === undefined ? attribute.default : given[name];
    if (value === undefined) throw new TypeError(`${resource.table}.${name} has no value`);
    row[name] = value;
  }
  return asRow(resource, row);
}

/** False for what PostgreSQL would refuse to look for, because no text of its can hold it. */
export function canBeAnId(id: string): boolean {
  return !id.includes("\0");
}

export async function findRow<R extends Resource>(
  connection: Connection,
  resource: R,
  id: string,
): Promise<Row<R> | undefined> {
  if (!canBeAnId(id)) return undefined;
  const raw = await untyped(connection)
    .selectFrom(resource.table)
    .select(columnsOf(resource))
    .where(resource.key, "=", id)
    .executeTakeFirst();
  return raw === undefined ? undefined : asRow(resource, raw);
}

/**
 * A row that nobody changes until the transaction ends (`update`), or only not deletes or changes (`share`: others may
 * hold it so too).
 */
export async function lockRow<R extends Resource>(
  { dialect }: Pick<Store, "dialect">,
  trx: Trx,
  resource: R,
  key: string,
  mode: "share" | "update",
): Promise<Row<R> | undefined> {
  if (!canBeAnId(key)) return undefined;
  const query = untyped(trx).selectFrom(resource.table).select(columnsOf(resource)).where(resource.key, "=", key);
  // SQLite has one writer at a time, and no row locks
  const locked = mode === "share" ? query.forShare() : query.forUpdate();
  const raw = await (dialect === "postgresql" ? locked : query).executeTakeFirst();
  return raw === undefined ? undefined : asRow(resource, raw);
}

/** Rows whose columns have these values, the oldest first. */
export async function selectRows<R extends Resource>(
  connection: Connection,
  resource: R,
  where: Partial<Row<R>>,
): Promise<Row<R>[]> {
  let query = untyped(connection).selectFrom(resource.table).select(columnsOf(resource));
  for (const [column, value] of Object.entries(where)) {
    query = value === null ? query.where(column, "is", null) : query.where(column, "=", value);
  }
  const rows = await query.orderBy("created_at").orderBy("id").execute();
  return rows.map((raw) => asRow(resource, raw));
}

export async function insertRow<R extends Resource>(trx: Trx, resource: R, row: Row<R>): Promise<void> {
  await insertRows(trx, resource, [row]);
}

/** SQLite takes 32,766 values in a statement, PostgreSQL 65,535. */
const MOST_VALUES = 32_000;

export async function insertRows<R extends Resource>(trx: Trx, resource: R, rows: readonly Row<R>[]): Promise<void> {
  const step = Math.floor(MOST_VALUES / columnsOf(resource).length);
  for (let i = 0; i < rows.length; i += step) {
    const values = rows.slice(i, i + step).map((row) => encode(resource, row));
    await untyped(trx).insertInto(resource.table).values(values).execute();
  }
}

export async function updateRow<R extends Resource>(
  connection: Connection,
  resource: R,
  id: string,
  patch: Partial<Row<R>>,
): Promise<void> {
  await updateRows(connection, resource, [id], patch);
}

/** Changes several rows in the same way. */
export async function updateRows<R extends Resource>(
  connection: Connection,
  resource: R,
  ids: readonly string[],
  patch: Partial<Row<R>>,
): Promise<void> {
  if (Object.keys(patch).length === 0) return;
  const values = encode(resource, patch);
  for (let i = 0; i < ids.length; i += MOST_VALUES) {
    const some = ids.slice(i, i + MOST_VALUES);
    await untyped(connection).updateTable(resource.table).set(values).where(resource.key, "in", some).execute();
  }
}

function encode(resource: Resource, row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const encoded: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(row)) {
    const column = resource.attributes[name]?.column;
    if (column === undefined || column === null) throw new TypeError(`${resource.table} has no column ${name}`);
    encoded[name] = column === "json" && value !== null ? JSON.stringify(value) : value;
  }
  return encoded;
}

/** The present, as the API writes it: UTC, whole seconds, no zone. */
export function timestamp(ms = Date.now()): string {
  return new Date(ms).toISOString().slice(0, 19);
}
