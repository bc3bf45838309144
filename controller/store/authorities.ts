/** The deployment's certificate authorities: one that signs, and while it is replaced a second one. */
import { randomUUID } from "node:crypto";
import type { Store, Trx } from "./database.ts";

/**
 * signing: it signs. next: it will, once every amphora trusts it. former: it is still trusted, until nobody shows what it
 * has signed.
 */
export type AuthorityState = "signing" | "next" | "former";

export interface AuthorityRow {
  id: string;
  certificate: string;
  /** sealed */
  key: string;
  state: AuthorityState;
  /** when it came into this state, ms since 1970 */
  since: number;
}

/** The id of the first one: of controllers that begin at the same time only one makes it. */
const FIRST_AUTHORITY = "00000000-0000-0000-0000-000000000001";

export function listAuthorities(db: Store["db"] | Trx): Promise<AuthorityRow[]> {
  return db.selectFrom("authorities").selectAll().orderBy("id").execute();
}

/** Writes the first one down, unless there is one, or another controller is about to. */
export async function keepFirst(store: Store, row: Pick<AuthorityRow, "certificate" | "key">): Promise<void> {
  await store.db
    .insertInto("authorities")
    .values({ ...row, id: FIRST_AUTHORITY, state: "signing", since: Date.now() })
    // of id and of state: PostgreSQL may meet either one first
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Writes the next one down. @returns false: a replacement is under way already */
export function keepNext(store: Store, row: Pick<AuthorityRow, "certificate" | "key">): Promise<boolean> {
  return store.transaction(async (trx) => {
    const rows = await lockAll(store, trx);
    if (rows.length !== 1) return false;
    // two may have seen no other: a lock on rows keeps no new one out, but there is one in each state
    const { numInsertedOrUpdatedRows } = await trx
      .insertInto("authorities")
      .values({ ...row, id: randomUUID(), state: "next", since: Date.now() })
      .onConflict((conflict) => conflict.column("state").doNothing())
      .executeTakeFirstOrThrow();
    return (numInsertedOrUpdatedRows ?? 0n) > 0n;
  });
}

/** The next one signs from now on. @returns false: there is none, or it has been done */
export function promoteNext(store: Store): Promise<boolean> {
  return store.transaction(async (trx) => {
    const rows = await lockAll(store, trx);
    if (!rows.some(({ state }) => state === "next")) return false;
    const since = Date.now();
    await trx.updateTable("authorities").set({ state: "former", since }).where("state", "=", "signing").execute();
    await trx.updateTable("authorities").set({ state: "signing", since }).where("state", "=", "next").execute();
    return true;
  });
}

/** Nobody trusts the former one any more. */
export async function dropFormer(store: Store): Promise<boolean> {
  const { numDeletedRows } = await store.db
    .deleteFrom("authorities")
    .where("state", "=", "former")
    .executeTakeFirstOrThrow();
  return numDeletedRows > 0n;
}

async function lockAll(store: Store, trx: Trx): Promise<AuthorityRow[]> {
  const all = trx.selectFrom("authorities").selectAll().orderBy("id");
  return (store.dialect === "postgresql" ? all.forUpdate() : all).execute();
}
