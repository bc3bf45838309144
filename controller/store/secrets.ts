/** The key manager's rows: secrets, containers of them, and who uses them. Payloads stay encrypted here. */
import { type SqlBool, sql } from "kysely";
import type { Trx } from "./database.ts";
import { type Connection, timestamp } from "./rows.ts";
import type { ConsumerRow, ContainerRow, ContainerSecretRow, SecretRow } from "./tables.ts";

/** SQLite takes 32,766 values in a statement, PostgreSQL 65,535. */
const MOST_IDS = 30_000;

/** What a secret that has expired is to everybody. */
const unexpired = (now = timestamp()) => sql<SqlBool>`(expiration is null or expiration > ${now})`;

/** What is there, by id. */
export function findSecrets(db: Connection, ids: readonly string[]): Promise<Map<string, SecretRow>> {
  return inPortions(ids, (portion) =>
    db.selectFrom("secrets").selectAll().where("id", "in", portion).where(unexpired()).execute(),
  );
}

export async function findSecret(db: Connection, id: string): Promise<SecretRow | undefined> {
  return (await findSecrets(db, [id])).get(id);
}

export function findContainers(db: Connection, ids: readonly string[]): Promise<Map<string, ContainerRow>> {
  return inPortions(ids, (portion) =>
    db.selectFrom("secret_containers").selectAll().where("id", "in", portion).execute(),
  );
}

export async function findContainer(db: Connection, id: string): Promise<ContainerRow | undefined> {
  return (await findContainers(db, [id])).get(id);
}

/** The names and ids of the secrets in containers, by the containers' ids. */
export async function secretsIn(
  db: Connection,
  containerIds: readonly string[],
): Promise<Map<string, ContainerSecretRow[]>> {
  const rows: ContainerSecretRow[] = [];
  for (const portion of portions(containerIds)) {
    rows.push(
      ...(await db
        .selectFrom("container_secrets")
        .selectAll()
        .where("container_id", "in", portion)
        .orderBy("name")
        .orderBy("secret_id")
        .execute()),
    );
  }
  return Map.groupBy(rows, (row) => row.container_id);
}

export type DateField = "created_at" | "updated_at" | "expiration";
export type SortField = DateField | "algorithm" | "bit_length" | "mode" | "name" | "secret_type" | "id";

export interface SecretQuery {
  readonly projectId: string;
  readonly equal: Partial<Pick<SecretRow, "name" | "algorithm" | "mode" | "bit_length" | "secret_type">>;
  readonly dates: readonly {
    readonly field: DateField;
    readonly operator: "=" | "<" | "<=" | ">" | ">=";
    readonly value: string;
  }[];
  readonly sort: readonly { readonly field: SortField; readonly direction: "asc" | "desc" }[];
}

export interface Window {
  readonly limit: number;
  readonly offset: number;
}

export interface Found<T> {
  readonly rows: readonly T[];
  /** how many there are without the window */
  readonly total: number;
}

export async function listSecrets(db: Connection, query: SecretQuery, window: Window): Promise<Found<SecretRow>> {
  let wanted = db.selectFrom("secrets").where("project_id", "=", query.projectId).where(unexpired());
  for (const [column, value] of Object.entries(query.equal)) {
    wanted = wanted.where(column as keyof typeof query.equal, "=", value);
  }
  for (const { field, operator, value } of query.dates) wanted = wanted.where(field, operator, value);
  let ordered = wanted.selectAll();
  for (const { field, direction } of query.sort) ordered = ordered.orderBy(field, direction);
  const { total } = await wanted.select(({ fn }) => fn.countAll<number>().as("total")).executeTakeFirstOrThrow();
  const rows = await ordered.orderBy("created_at").orderBy("id").limit(window.limit).offset(window.offset).execute();
  return { rows, total: Number(total) };
}

export async function listContainers(
  db: Connection,
  projectId: string,
  equal: Partial<Pick<ContainerRow, "name" | "type">>,
  window: Window,
): Promise<Found<ContainerRow>> {
  let wanted = db.selectFrom("secret_containers").where("project_id", "=", projectId);
  for (const [column, value] of Object.entries(equal)) {
    wanted = wanted.where(column as keyof typeof equal, "=", value);
  }
  const { total } = await wanted.select(({ fn }) => fn.countAll<number>().as("total")).executeTakeFirstOrThrow();
  const ordered = wanted.selectAll().orderBy("created_at").orderBy("id");
  return { rows: await ordered.limit(window.limit).offset(window.offset).execute(), total: Number(total) };
}

/** Those who said that they use something, the first first. */
export function consumersOf(db: Connection, kind: ConsumerRow["kind"], ids: readonly string[]): Promise<ConsumerRow[]> {
  if (ids.length === 0) return Promise.resolve([]);
  return db
    .selectFrom("secret_consumers")
    .selectAll()
    .where("kind", "=", kind)
    .where("used_id", "in", ids)
    .orderBy("created_at")
    .orderBy("id")
    .execute();
}

/** A secret goes with its places in containers, and with what was said about it. */
export async function removeSecret(trx: Trx, id: string): Promise<void> {
  await trx.deleteFrom("container_secrets").where("secret_id", "=", id).execute();
  await trx.deleteFrom("secret_consumers").where("kind", "=", "secret").where("used_id", "=", id).execute();
  await trx.deleteFrom("secrets").where("id", "=", id).execute();
}

/** A container goes, its secrets stay. */
export async function removeContainer(trx: Trx, id: string): Promise<void> {
  await trx.deleteFrom("container_secrets").where("container_id", "=", id).execute();
  await trx.deleteFrom("secret_consumers").where("kind", "=", "container").where("used_id", "=", id).execute();
  await trx.deleteFrom("secret_containers").where("id", "=", id).execute();
}

async function inPortions<T extends { id: string }>(
  ids: readonly string[],
  find: (portion: readonly string[]) => Promise<T[]>,
): Promise<Map<string, T>> {
  const found = new Map<string, T>();
  for (const portion of portions(ids)) for (const row of await find(portion)) found.set(row.id, row);
  return found;
}

function* portions(ids: readonly string[]): Generator<readonly string[]> {
  const all = [...new Set(ids)];
  for (let i = 0; i < all.length; i += MOST_IDS) yield all.slice(i, i + MOST_IDS);
}
