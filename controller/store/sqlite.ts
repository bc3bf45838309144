/** SQLite as Node brings it, for kysely: no native module to install. */
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import {
  CompiledQuery,
  type DatabaseConnection,
  type Driver,
  SqliteDialect,
  type SqliteDialectConfig,
  SqliteDriver,
} from "kysely";

/** Transactions take the one place of a writer when they begin: one that reads first can't be overtaken by another. */
class WritingDriver extends SqliteDriver {
  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("begin immediate"));
  }
}

class WritingDialect extends SqliteDialect {
  readonly #config: SqliteDialectConfig;

  constructor(config: SqliteDialectConfig) {
    super(config);
    this.#config = config;
  }

  override createDriver(): Driver {
    return new WritingDriver(this.#config);
  }
}

/**
 * @param file a path, or `:memory:`
 * @param decode per column name, what makes the stored value the program's (SQLite knows neither booleans nor JSON)
 */
export function sqliteDialect(file: string, decode: ReadonlyMap<string, (value: unknown) => unknown>): SqliteDialect {
  return new WritingDialect({
    database: async () => {
      const database = new DatabaseSync(file);
      // a commit that was answered survives a power failure
      database.exec(
        "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
      );
      return {
        close: () => database.close(),
        prepare: (sql) => {
          const statement = database.prepare(sql);
          const columns = statement.columns().map((column) => column.name);
          const decoders = columns.flatMap((name) => {
            const decoder = decode.get(name);
            return decoder === undefined ? [] : [{ name, decoder }];
          });
          const row = (raw: Record<string, unknown>) => {
            for (const { name, decoder } of decoders) if (raw[name] !== null) raw[name] = decoder(raw[name]);
            return raw;
          };
          return {
            reader: columns.length > 0,
            all: (parameters) => statement.all(...parameters.map(bindable)).map(row),
            run: (parameters) => statement.run(...parameters.map(bindable)),
            *iterate(parameters) {
              for (const raw of statement.iterate(...parameters.map(bindable))) yield row(raw);
            },
          };
        },
      };
    },
  });
}

function bindable(value: unknown): SQLInputValue {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (value === null || typeof value === "string" || typeof value === "number" || typeof value === "bigint")
    return value;
  throw new TypeError(`a value of type ${typeof value} can't be stored`);
}
