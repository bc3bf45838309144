/** Brings the tables up to date: each migration once, ever, and all of them or none. */
import { type Kysely, sql } from "kysely";
import type { Dialect, Trx } from "./database.ts";
import { first } from "./migrations/001-first.ts";
import { type AnyTables, untyped } from "./rows.ts";

/** In order. A migration that has been published is never changed. */
const MIGRATIONS: Readonly<Record<string, (db: Kysely<AnyTables>, dialect: Dialect) => Promise<void>>> = {
  "001-first": first,
};

/** Any number that nobody else of the database locks. */
const LOCK = 6_120_317_405n;

/**
 * In a transaction, which either database also keeps for changes of tables: a process that is killed meanwhile leaves
 * the database as it was.
 * @throws {Error} when the database was made by a newer version of this program
 */
export async function migrate(trx: Trx, dialect: Dialect): Promise<void> {
  // SQLite has one writer at a time
  if (dialect === "postgresql") await sql`select pg_advisory_xact_lock(${sql.lit(LOCK)})`.execute(trx);
  await trx.schema
    .createTable("migrations")
    .ifNotExists()
    .addColumn("name", "text", (column) => column.primaryKey())
    .execute();
  const done = (await trx.selectFrom("migrations").select("name").execute()).map(({ name }) => name);
  const unknown = done.filter((name) => !Object.hasOwn(MIGRATIONS, name)).sort();
  if (unknown.length > 0) {
    throw new Error(
      `the database was made by a newer version of amphora-controller, which added ${unknown.join(", ")}`,
    );
  }
  for (const [name, up] of Object.entries(MIGRATIONS)) {
    if (done.includes(name)) continue;
    await up(untyped(trx), dialect);
    await trx.insertInto("migrations").values({ name }).execute();
  }
}
