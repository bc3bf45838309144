/** PostgreSQL, for kysely. While it can't be reached nobody waits for it: one asks in a while, all others are told at once. */
import {
  type PostgresCursor,
  PostgresDialect,
  type PostgresPool,
  type PostgresPoolClient,
  type PostgresQueryResult,
} from "kysely";
import pg from "pg";

/** The database can't be used now; it may be back any moment. */
export class UnavailableError extends Error {
  override readonly name = "UnavailableError";
}

const INT8 = 20;
const CONNECT_LIMIT = 2000;
const STATEMENT_LIMIT = 5000;
/** ms until it is tried again */
const PAUSE = 500;

/** PostgreSQL's classes of errors that are not the statement's fault ("Appendix A. PostgreSQL Error Codes"). */
const STATES = [
  /^08/, // connection exception
  /^57P0[1-5]$/, // the server, or the session, is being ended
  /^57014$/, // the statement took too long
  /^53/, // no room: connections, memory, disk
  /^25006$/, // a standby: it may be the primary in a moment
];
const SYSTEM_CODES = /^(?:ECONN\w+|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ENOENT)$/;
/** pg's own, which have no code. */
const WORDS =
  /^(?:timeout exceeded when trying to connect|Query read timeout|Connection terminated|Client has encountered a connection error)/;

/** Whether a statement failed because the database is not there. */
function isUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  if (code === "") return WORDS.test(error.message);
  return SYSTEM_CODES.test(code) || STATES.some((state) => state.test(code));
}

export function postgresDialect(url: string): PostgresDialect {
  return new PostgresDialect({ pool: new Pool(url) });
}

class Pool implements PostgresPool {
  readonly options = {};
  readonly #pool: pg.Pool;
  /** when it is tried again; 0: it is there */
  #tryAgainAt = 0;

  constructor(url: string) {
    this.#pool = new pg.Pool({
      connectionString: url,
      max: 10,
      connectionTimeoutMillis: CONNECT_LIMIT,
      statement_timeout: STATEMENT_LIMIT,
      query_timeout: STATEMENT_LIMIT + 500,
      keepAlive: true,
      // counters stay below 2^53
      types: { getTypeParser: (oid, format) => (oid === INT8 ? Number : pg.types.getTypeParser(oid, format)) },
    });
    // a connection that nobody used was lost: whoever needs one next gets another, or the error
    this.#pool.on("error", () => undefined);
    // one that was given up may still hear that its server ends
    this.#pool.on("connect", (client) => void client.on("error", () => undefined));
  }

  async connect(): Promise<PostgresPoolClient> {
    const trial = this.#tryAgainAt !== 0;
    if (trial && Date.now() < this.#tryAgainAt) throw new UnavailableError("the database can't be reached");
    // until it is known whether it is back, only this one asks
    if (trial) this.#tryAgainAt = Date.now() + CONNECT_LIMIT;
    try {
      const client = await this.#pool.connect();
      if (trial) await this.#probe(client);
      this.#tryAgainAt = 0;
      return new Watched(client, (error) => this.#noticed(error));
    } catch (error) {
      throw this.#noticed(error);
    }
  }

  end(): Promise<void> {
    return this.#pool.end();
  }

  /** A connection of before the outage may not know of it. */
  async #probe(client: pg.PoolClient): Promise<void> {
    try {
      const limit = new Promise<never>((_, reject) => {
        setTimeout(() => reject(new UnavailableError("the database does not answer")), CONNECT_LIMIT).unref();
      });
      await Promise.race([client.query("select 1"), limit]);
    } catch (error) {
      client.release(true);
      throw error;
    }
  }

  #noticed(error: unknown): unknown {
    if (error instanceof UnavailableError) {
      if (this.#tryAgainAt !== 0) this.#tryAgainAt = Date.now() + PAUSE;
      return error;
    }
    if (!isUnavailable(error)) return error;
    this.#tryAgainAt = Date.now() + PAUSE;
    return new UnavailableError(`the database can't be reached: ${(error as Error).message}`, { cause: error });
  }
}

/** A connection that is not used again once a statement has failed for want of the database. */
class Watched implements PostgresPoolClient {
  readonly #client: PostgresPoolClient;
  readonly #notice: (error: unknown) => unknown;
  readonly #forget: () => void;
  #broken = false;

  constructor(client: pg.PoolClient, notice: (error: unknown) => unknown) {
    this.#client = client;
    this.#notice = notice;
    // a connection that ends between two statements tells nobody else
    const onError = () => {
      this.#broken = true;
    };
    client.on("error", onError);
    this.#forget = () => client.off("error", onError);
  }

  query<R>(text: string, values: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query<R>(
    text: string | PostgresCursor<R>,
    values: readonly unknown[] = [],
  ): Promise<PostgresQueryResult<R>> | PostgresCursor<R> {
    if (typeof text !== "string") throw new TypeError("results are not streamed");
    return this.#query(text, values);
  }

  release(): void {
    this.#client.release(this.#broken);
    this.#forget();
  }

  async #query<R>(text: string, values: readonly unknown[]): Promise<PostgresQueryResult<R>> {
    try {
      return await this.#client.query<R>(text, values);
    } catch (error) {
      const noticed = this.#notice(error);
      this.#broken ||= noticed instanceof UnavailableError;
      throw noticed;
    }
  }
}
