/** How many of each kind a project may have, and has. */
import { sql } from "kysely";
import { QUOTA_NAMES, type QuotaName } from "../model/resource.ts";
import { RESOURCES } from "../model/resources.ts";
import type { Store, Trx } from "./database.ts";
import { type Connection, untyped } from "./rows.ts";

/** -1 is no limit. */
export type QuotaDefaults = Readonly<Record<QuotaName, number>>;
export const UNLIMITED = -1;

const TABLES = new Map(RESOURCES.flatMap(({ quota, table }) => (quota === null ? [] : [[quota, table] as const])));

/** A project's own limits; null where the deployment's defaults hold. */
export type QuotaRow = Readonly<Record<QuotaName, number | null>>;

export const NO_QUOTAS = Object.fromEntries(QUOTA_NAMES.map((name) => [name, null])) as QuotaRow;

export async function quotasOf(db: Connection, projectId: string): Promise<QuotaRow> {
  const row = await db.selectFrom("quotas").select(QUOTA_NAMES).where("project_id", "=", projectId).executeTakeFirst();
  return row ?? NO_QUOTAS;
}

/** How many a project has of each kind: what is being deleted does not count any more. */
export async function usage(
  db: Connection,
  name: QuotaName,
  projects: readonly string[],
): Promise<Map<string, number>> {
  const rows = await untyped(db)
    .selectFrom(TABLES.get(name) ?? "")
    .select(({ fn }) => ["project_id", fn.countAll<number>().as("count")])
    .where("project_id", "in", projects)
    .where("doomed", "=", false)
    .groupBy("project_id")
    .execute();
  return new Map(rows.map((row) => [String(row.project_id), Number(row.count)]));
}

/**
 * Which of the kinds a project would have too many of. Whoever asks is alone with the project's quota until its
 * transaction ends, so that two that fit one by one do not both come in.
 * @param more how many are to come
 */
export async function exceeded(
  store: Store,
  trx: Trx,
  projectId: string,
  more: ReadonlyMap<QuotaName, number>,
  defaults: QuotaDefaults,
): Promise<QuotaName[]> {
  const own = await quotasOf(trx, projectId);
  const limited = [...more].flatMap(([name, count]) => {
    const limit = own[name] ?? defaults[name];
    return limit === UNLIMITED || count === 0 ? [] : [{ name, count, limit }];
  });
  if (limited.length === 0) return [];
  // SQLite has one writer at a time
  if (store.dialect === "postgresql") {
    await sql`select pg_advisory_xact_lock(hashtextextended(${`quota ${projectId}`}, 0))`.execute(trx);
  }
  const found: QuotaName[] = [];
  for (const { name, count, limit } of limited) {
    const now = (await usage(trx, name, [projectId])).get(projectId) ?? 0;
    if (now + count > limit) found.push(name);
  }
  return found;
}
