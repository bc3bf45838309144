/**
 * What controllers know together of silent amphorae: who misses one writes that down, and who hears it clears it again.
 * So a controller that is cut off from some amphorae replaces none of them.
 */
import type { Amphora } from "../model/amphora.ts";
import type { Store } from "../store/database.ts";
import type { Registry, Seen } from "./registry.ts";

/** Values in a statement are limited (SQLite: 32,766). */
const IDS_AT_ONCE = 10_000;

type Row = Pick<Amphora, "id" | "status" | "retiring" | "suspected_at">;

export interface Consultation {
  /** those that are missed here, and should be heard */
  readonly suspects: readonly Seen[];
  /** those of them that no controller has heard for long enough */
  readonly agreed: readonly Seen[];
}

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
   * Writes down who is suspected here, and clears those that others suspect and that are heard here. Those that are gone,
   * or are about to go, are forgotten.
   */
  async consult(missed: readonly Seen[]): Promise<Consultation> {
    const rows = await this.#rows(missed.map(({ amphoraId }) => amphoraId));
    const suspects = missed.filter(({ amphoraId }) => this.#isExpected(rows.get(amphoraId), amphoraId));
    const ids = new Set(suspects.map(({ amphoraId }) => amphoraId));
    const marked = [...rows.values()].filter(({ suspected_at }) => suspected_at !== null).map(({ id }) => id);
    await this.#clear(marked.filter((id) => !ids.has(id) && this.#registry.get(id)?.spoke === true));

    const fresh: Seen[] = [];
    const agreed: Seen[] = [];
    for (const seen of suspects) {
      const isMarked = rows.get(seen.amphoraId)?.suspected_at !== null;
      // it was marked in an earlier round, and another has cleared it since
      if (!isMarked && seen.rounds > 0) this.#registry.heard(seen.amphoraId);
      else {
        if (!isMarked) fresh.push(seen);
        seen.rounds++;
        if (seen.rounds > this.#rounds) agreed.push(seen);
      }
    }
    await this.#mark(fresh.map(({ amphoraId }) => amphoraId));
    return { suspects, agreed };
  }

  /** One that boots has its own limit. */
  #isExpected(row: Row | undefined, id: string): boolean {
    if (row?.status === "BOOTING") this.#registry.heard(id);
    else if (row?.status !== "ALLOCATED" || row.retiring) this.#registry.forget(id);
    else return true;
    return false;
  }

  /** The rows of these, and of all whose silence is on record. */
  async #rows(ids: readonly string[]): Promise<Map<string, Row>> {
    const select = () => this.#store.db.selectFrom("amphorae").select(["id", "status", "retiring", "suspected_at"]);
    const rows: Row[] = await select().where("suspected_at", "is not", null).execute();
    for (let i = 0; i < ids.length; i += IDS_AT_ONCE) {
      rows.push(
        ...(await select()
          .where("id", "in", ids.slice(i, i + IDS_AT_ONCE))
          .execute()),
      );
    }
    return new Map(rows.map((row) => [row.id, row]));
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
