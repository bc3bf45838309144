/** Counters, as amphorae report them. */
import type { SelectQueryBuilder } from "kysely";
import type { Counters } from "../../agent/protocol.ts";
import type { Connection } from "../store/rows.ts";
import type { Tables } from "../store/tables.ts";

/** The sum over every amphora, of the listeners that the query finds or that the ids name. */
export async function statistics(
  db: Connection,
  listeners: readonly string[] | SelectQueryBuilder<Tables, "listeners", { id: string }>,
): Promise<Counters> {
  const row = await db
    .selectFrom("listener_statistics")
    .select(({ fn }) => [
      fn.sum<number | null>("active_connections").as("active_connections"),
      fn.sum<number | null>("total_connections").as("total_connections"),
      fn.sum<number | null>("bytes_in").as("bytes_in"),
      fn.sum<number | null>("bytes_out").as("bytes_out"),
      fn.sum<number | null>("request_errors").as("request_errors"),
    ])
    .where("listener_id", "in", listeners)
    .executeTakeFirstOrThrow();
  return {
    bytes_in: Number(row.bytes_in ?? 0),
    bytes_out: Number(row.bytes_out ?? 0),
    active_connections: Number(row.active_connections ?? 0),
    total_connections: Number(row.total_connections ?? 0),
    request_errors: Number(row.request_errors ?? 0),
  };
}

/** What one amphora counts, a listener at a time. */
export async function amphoraStatistics(db: Connection, amphoraId: string): Promise<Record<string, unknown>[]> {
  const rows = await db
    .selectFrom("listener_statistics")
    .innerJoin("listeners", "listeners.id", "listener_statistics.listener_id")
    .selectAll("listener_statistics")
    .select("loadbalancer_id")
    .where("amphora_id", "=", amphoraId)
    .orderBy("listener_id")
    .execute();
  return rows.map(({ amphora_id: id, ...rest }) => ({ id, ...rest }));
}
