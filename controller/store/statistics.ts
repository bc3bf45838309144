/** Counters of listeners: of each amphora, and of those that are gone. */
import type { Trx } from "./database.ts";

/** Whose counters they are that no amphora has any more: totals never fall. */
export const GONE = "00000000-0000-0000-0000-000000000000";

/** Adds what an amphora has counted to what is kept of those that are gone. */
export async function retireStatistics(trx: Trx, amphoraId: string): Promise<void> {
  const rows = await trx.selectFrom("listener_statistics").selectAll().where("amphora_id", "=", amphoraId).execute();
  for (const row of rows) {
    await trx
      .insertInto("listener_statistics")
      .values({ ...row, amphora_id: GONE, active_connections: 0 })
      .onConflict((conflict) =>
        conflict.columns(["listener_id", "amphora_id"]).doUpdateSet((eb) => ({
          total_connections: eb("listener_statistics.total_connections", "+", row.total_connections),
          bytes_in: eb("listener_statistics.bytes_in", "+", row.bytes_in),
          bytes_out: eb("listener_statistics.bytes_out", "+", row.bytes_out),
          request_errors: eb("listener_statistics.request_errors", "+", row.request_errors),
        })),
      )
      .execute();
  }
  await trx.deleteFrom("listener_statistics").where("amphora_id", "=", amphoraId).execute();
}
