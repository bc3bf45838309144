/** Counters in: those that changed are kept, and written together. */
import { sql } from "kysely";
import type { Heartbeat } from "../../agent/protocol.ts";
import type { Store, Trx } from "../store/database.ts";
import type { StatisticsRow } from "../store/tables.ts";
import type { Seen } from "./registry.ts";

/** So many rows are written at a time: other work has its turn in between. */
const ROWS_AT_ONCE = 4000;
/** Writing takes at most such a share of the time, so that counters of many are a little older, and nobody waits. */
const SHARE = 0.1;

export class CounterBook {
  #changed = new Map<string, StatisticsRow>();
  /** not before (ms on the monotonic clock) */
  #nextAt = 0;

  /** Takes in what an amphora says of its listeners. */
  take(seen: Seen, stats: NonNullable<Heartbeat["body"]["stats"]>): void {
    const now = new Map<string, string>();
    for (const counters of stats) {
      const [id, active_connections, total_connections, bytes_in, bytes_out, request_errors] = counters;
      const text = counters.join(" ");
      now.set(id, text);
      if (text === seen.counters.get(id)) continue;
      this.#changed.set(`${seen.amphoraId} ${id}`, {
        amphora_id: seen.amphoraId,
        listener_id: id,
        active_connections,
        total_connections,
        bytes_in,
        bytes_out,
        request_errors,
      });
    }
    seen.counters = now;
  }

  /** Writes what changed since the last time, if it is time. @throws when that fails; then it is kept for the next time */
  async flush(store: Store): Promise<void> {
    const changed = this.#changed;
    const started = performance.now();
    if (changed.size === 0 || started < this.#nextAt) return;
    this.#changed = new Map();
    try {
      const rows = [...changed.values()];
      for (let i = 0; i < rows.length; i += ROWS_AT_ONCE) {
        await store.transaction((trx) => write(store, trx, rows.slice(i, i + ROWS_AT_ONCE)));
      }
    } catch (error) {
      // unless there is news by then
      this.#changed = new Map([...changed, ...this.#changed]);
      throw error;
    } finally {
      this.#nextAt = performance.now() + (performance.now() - started) * (1 / SHARE - 1);
    }
  }
}

/**
 * Of amphorae that are still there, and of their own listeners: none speaks for another's, which may be another tenant's.
 * What one has counted is in the totals when its row is gone. All rows are one value, for the database takes them apart
 * much faster than thousands of values are put into a statement.
 */
async function write(store: Store, trx: Trx, rows: readonly StatisticsRow[]): Promise<void> {
  const amphorae = trx
    .selectFrom("amphorae")
    .select("id")
    .where("id", "in", [...new Set(rows.map((row) => row.amphora_id))])
    .orderBy("id");
  // nobody removes them until this is written; SQLite has one writer at a time
  const speaking = new Set(
    (await (store.dialect === "postgresql" ? amphorae.forShare() : amphorae).execute()).map(({ id }) => id),
  );
  const known = JSON.stringify(rows.filter((row) => speaking.has(row.amphora_id)));
  const given =
    store.dialect === "postgresql"
      ? sql`json_to_recordset(${known}::json) as s (listener_id text, amphora_id text, active_connections bigint,
          total_connections bigint, bytes_in bigint, bytes_out bigint, request_errors bigint)`
      : sql`(select value ->> 'listener_id' as listener_id, value ->> 'amphora_id' as amphora_id,
          value ->> 'active_connections' as active_connections, value ->> 'total_connections' as total_connections,
          value ->> 'bytes_in' as bytes_in, value ->> 'bytes_out' as bytes_out,
          value ->> 'request_errors' as request_errors from json_each(${known})) as s`;
  await sql`
    insert into listener_statistics (listener_id, amphora_id, active_connections, total_connections, bytes_in, bytes_out,
      request_errors)
    select s.listener_id, s.amphora_id, s.active_connections, s.total_connections, s.bytes_in, s.bytes_out,
      s.request_errors
    from ${given} where exists (
      select 1 from listeners join amphorae on amphorae.loadbalancer_id = listeners.loadbalancer_id
      where listeners.id = s.listener_id and amphorae.id = s.amphora_id)
    on conflict (listener_id, amphora_id) do update set active_connections = excluded.active_connections,
      total_connections = excluded.total_connections, bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out,
      request_errors = excluded.request_errors`.execute(trx);
}
