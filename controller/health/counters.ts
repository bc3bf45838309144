/** Counters in: those that changed are kept, and written together. */
import type { Heartbeat } from "../../agent/protocol.ts";
import type { Store, Trx } from "../store/database.ts";
import type { StatisticsRow } from "../store/tables.ts";
import type { Seen } from "./registry.ts";

/** Values in a statement are limited (SQLite: 32,766): so many rows of seven columns at a time. */
const ROWS_AT_ONCE = 4000;

export class CounterBook {
  #changed = new Map<string, StatisticsRow>();

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

  /** Writes what changed since the last time. @throws when that fails; then it is kept for the next time */
  async flush(store: Store): Promise<void> {
    const changed = this.#changed;
    if (changed.size === 0) return;
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
    }
  }
}

/** Of listeners and amphorae that are still there: what one has counted is in the totals when its row is gone. */
async function write(store: Store, trx: Trx, rows: readonly StatisticsRow[]): Promise<void> {
  const unique = (ids: string[]) => [...new Set(ids)];
  const listenerIds = unique(rows.map((row) => row.listener_id));
  const amphoraIds = unique(rows.map((row) => row.amphora_id));
  const amphorae = trx.selectFrom("amphorae").select("id").where("id", "in", amphoraIds).orderBy("id");
  // nobody removes them until this is written; SQLite has one writer at a time
  const speaking = await (store.dialect === "postgresql" ? amphorae.forShare() : amphorae).execute();
  const listeners = await trx.selectFrom("listeners").select("id").where("id", "in", listenerIds).execute();
  const known = new Set([...speaking, ...listeners].map((row) => row.id));
  const values = rows.filter((row) => known.has(row.listener_id) && known.has(row.amphora_id));
  if (values.length === 0) return;
  await trx
    .insertInto("listener_statistics")
    .values(values)
    .onConflict((conflict) =>
      conflict.columns(["listener_id", "amphora_id"]).doUpdateSet((eb) => ({
        active_connections: eb.ref("excluded.active_connections"),
        total_connections: eb.ref("excluded.total_connections"),
        bytes_in: eb.ref("excluded.bytes_in"),
        bytes_out: eb.ref("excluded.bytes_out"),
        request_errors: eb.ref("excluded.request_errors"),
      })),
    )
    .execute();
}
