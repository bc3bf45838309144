/** The controllers of the deployment, as each writes of itself. */
import type { Store } from "./database.ts";

/** One that has not been seen for so long does not run, or can't reach the database (ms). */
const LOST_AFTER = 15_000;
/** One that has not been seen for so long is forgotten (ms). */
const FORGOTTEN_AFTER = 24 * 3600 * 1000;

export interface ControllerRow {
  /** the same over restarts */
  id: string;
  host: string;
  version: string;
  /** separated by commas */
  roles: string;
  /** where it receives heartbeats; null: it does not */
  heartbeat_address: string | null;
  heartbeat_port: number | null;
  state: "UP" | "HOLDING_BACK" | "STOPPED";
  /** ms since 1970 */
  started_at: number;
  seen_at: number;
  /** those that it listens to, and of these those that it misses */
  amphorae: number;
  silent_amphorae: number;
}

export type ControllerState = ControllerRow["state"] | "LOST";

/** Writes down that a controller is there. */
export async function keepController(store: Store, row: ControllerRow): Promise<void> {
  const { id: _, ...rest } = row;
  await store.db
    .insertInto("controllers")
    .values(row)
    .onConflict((conflict) => conflict.column("id").doUpdateSet(rest))
    .execute();
}

export async function forgetControllers(store: Store): Promise<void> {
  await store.db
    .deleteFrom("controllers")
    .where("seen_at", "<", Date.now() - FORGOTTEN_AFTER)
    .execute();
}

export function listControllers(store: Store): Promise<ControllerRow[]> {
  return store.db.selectFrom("controllers").selectAll().orderBy("id").execute();
}

/** What it says of itself, unless it has said nothing for too long. */
export function stateOf({ state, seen_at }: ControllerRow): ControllerState {
  return state !== "STOPPED" && seen_at < Date.now() - LOST_AFTER ? "LOST" : state;
}
