/**
 * What controllers know together of silent amphorae: who misses one writes that down, and who hears it clears it again.
 * So a controller that is cut off from some amphorae replaces none of them.
 */
import type { Store } from "../store/database.ts";
import type { Registry, Seen } from "./registry.ts";

/** Values in a statement are limited (SQLite: 32,766). */
const IDS_AT_ONCE = 10_000;

export class Suspicions {
  readonly #store: Store;
  readonly #registry: Registry;
  readonly #rounds: number;

  /** @param rounds for so many rounds a suspicion must have stood; counted, for a process that was stopped has lost time */
  constructor(store: Store, registry: Registry, rounds: number) {
    this.#store = store;
    this.#registry = registry;
    this.#rounds = rounds;
  }

  /**
   * Writes down who is suspected here, and clears those that others suspect and that are heard here.
   * @returns the suspects that no controller has heard for long enough
   */
  async consult(suspects: readonly Seen[]): Promise<Seen[]> {
    const rows = await this.#store.db
      .selectFrom("amphorae")
      .select("id")
      .where("suspected_at", "is not", null)
      .execute();
    const marked = new Set(rows.map(({ id }) => id));
    const missed = new Set(suspects.map(({ amphoraId }) => amphoraId));
    await this.#clear([...marked].filter((id) => !missed.has(id) && this.#registry.get(id)?.spoke === true));

    const fresh: Seen[] = [];
    const agreed: Seen[] = [];
    for (const seen of suspects) {
      const isMarked = marked.has(seen.amphoraId);
      // it was marked in an earlier round, and another has cleared it since
      if (!isMarked && seen.rounds > 0) this.#registry.heard(seen.amphoraId);
      else {
        if (!isMarked) fresh.push(seen);
        seen.rounds++;
        if (seen.rounds > this.#rounds) agreed.push(seen);
      }
    }
    await this.#mark(fresh.map(({ amphoraId }) => amphoraId));
    return agreed;
  }

  #mark(ids: readonly string[]): Promise<void> {
    return this.#set(ids, Date.now());
  }

  #clear(ids: readonly string[]): Promise<void> {
    return this.#set(ids, null);
  }

  async #set(ids: readonly string[], at: number | null): Promise<void> {
    for (let i = 0; i < ids.length; i += IDS_AT_ONCE) {
      await this.#store.db
        .updateTable("amphorae")
        .set({ suspected_at: at })
        .where("id", "in", ids.slice(i, i + IDS_AT_ONCE))
        .where("status", "=", "ALLOCATED")
        .execute();
    }
  }
}
