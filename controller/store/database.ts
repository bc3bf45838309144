/** One database, SQLite or PostgreSQL, behind the same queries. */
import { Kysely, type Transaction } from "kysely";
import { messageOf } from "../../agent/faults.ts";
import { RESOURCES } from "../model/resources.ts";
import { migrate } from "./migrate.ts";
import { postgresDialect } from "./postgres.ts";
import { sqliteDialect } from "./sqlite.ts";
import type { Tables } from "./tables.ts";

export type Dialect = "sqlite" | "postgresql";
export type Database = Kysely<Tables>;
/** Inside a transaction. */
export type Trx = Transaction<Tables>;

export { UnavailableError } from "./postgres.ts";

/** The database can't be used as it is; the message says why. */
export class StoreError extends Error {
  override readonly name = "StoreError";
}

export interface StoreOptions {
  /** told of every statement that was carried out */
  readonly onQuery?: (statement: string) => void;
}

export class Store {
  readonly db: Database;
  readonly dialect: Dialect;

  private constructor(db: Database, dialect: Dialect) {
    this.db = db;
    this.dialect = dialect;
  }

  /**
   * Opens the database and brings its tables up to date.
   * @param location a SQLite file, `:memory:`, or a `postgresql://` URL
   * @throws {StoreError} when it can't be reached, or was made by a newer version of this program
   */
  static async open(location: string, { onQuery }: StoreOptions = {}): Promise<Store> {
    const dialect: Dialect = /^postgres(ql)?:\/\//.test(location) ? "postgresql" : "sqlite";
    const db = new Kysely<Tables>({
      dialect: dialect === "sqlite" ? sqliteDialect(location, decoders()) : postgresDialect(location),
      ...(onQuery === undefined ? {} : { log: ({ query }) => onQuery(query.sql) }),
    });
    const store = new Store(db, dialect);
    try {
      await store.transaction((trx) => migrate(trx, dialect));
    } catch (error) {
      await db.destroy();
      throw new StoreError(`${withoutPassword(location)}: ${messageOf(error)}`);
    }
    return store;
  }

  /** Runs `work` in a transaction: everything it wrote is there, or nothing. */
  transaction<T>(work: (trx: Trx) => Promise<T>): Promise<T> {
    return this.db.transaction().execute(work);
  }

  /** Runs reads that all see the same moment. */
  snapshot<T>(work: (trx: Trx) => Promise<T>): Promise<T> {
    const transaction = this.db.transaction();
    // SQLite's transactions see one moment anyway, and know no levels
    const level = this.dialect === "postgresql" ? transaction.setIsolationLevel("repeatable read") : transaction;
    return level.execute(work);
  }

  /** @throws {UnavailableError} while the database can't be used */
  async probe(): Promise<void> {
    await this.db.selectFrom("migrations").select("name").limit(1).execute();
  }

  close(): Promise<void> {
    return this.db.destroy();
  }
}

/** PostgreSQL's unique_violation, and SQLite's SQLITE_CONSTRAINT_UNIQUE and SQLITE_CONSTRAINT_PRIMARYKEY. */
const DUPLICATE_CODES: readonly unknown[] = ["23505", 2067, 1555];

/** Whether a statement failed because a row with such a key is there already. */
export function isDuplicate(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  const code = "errcode" in error ? error.errcode : "code" in error ? error.code : undefined;
  return DUPLICATE_CODES.includes(code);
}

/** What SQLite keeps as numbers and text, back to booleans and JSON: by column name, which means the same everywhere. */
function decoders(): Map<string, (value: unknown) => unknown> {
  const found = new Map<string, (value: unknown) => unknown>();
  for (const resource of RESOURCES) {
    for (const [name, { column }] of Object.entries(resource.attributes)) {
      if (column === "boolean") found.set(name, (value) => value === 1);
      if (column === "json") found.set(name, (value) => JSON.parse(String(value)));
    }
  }
  return found;
}

function withoutPassword(location: string): string {
  return location.replace(/(:\/\/[^:@/]*):[^@/]*@/, "$1:***@").replace(/([?&]password=)[^&]*/g, "$1***");
}
