/** Which reconciler works on which load balancer: a lease in the database, so that no two do at once. */
import type { LoadBalancer } from "../model/load-balancer.ts";
import type { Store } from "./database.ts";

/** A reconciler that does not renew its lease for so long has died (ms). */
export const LEASE = 15_000;

/** Takes up to `limit` load balancers that are due and nobody else's, the longest waiting first. */
export async function claim(store: Store, owner: string, limit: number): Promise<LoadBalancer[]> {
  const now = Date.now();
  const due = store.db
    .selectFrom("load_balancers")
    .select("id")
    .where("due_at", "<=", now)
    .where((eb) => eb.or([eb("lease_until", "is", null), eb("lease_until", "<", now)]))
    .orderBy("due_at")
    .limit(limit);
  const free = store.dialect === "postgresql" ? due.forUpdate().skipLocked() : due;
  const rows = await store.db
    // looked for once, whatever the planner makes of the rest: a subquery may be carried out for every row
    .with("free", () => free)
    .updateTable("load_balancers")
    .set({ lease_owner: owner, lease_until: now + LEASE })
    .where("id", "in", (eb) => eb.selectFrom("free").select("free.id"))
    .returningAll()
    .execute();
  return rows.sort((a, b) => (a.due_at ?? 0) - (b.due_at ?? 0));
}

/**
 * Whether something is due that nobody has taken. After a `claim` that could have taken more: it was locked in that
 * moment, by a change or by what an amphora said, and passed over.
 */
export async function workLeft(store: Store): Promise<boolean> {
  const now = Date.now();
  const row = await store.db
    .selectFrom("load_balancers")
    .select("id")
    .where("due_at", "<=", now)
    .where((eb) => eb.or([eb("lease_until", "is", null), eb("lease_until", "<", now)]))
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** Holds a lease for longer. False: it was lost, and the work on it must stop. */
export async function renew(store: Store, owner: string, id: string): Promise<boolean> {
  const done = await store.db
    .updateTable("load_balancers")
    .set({ lease_until: Date.now() + LEASE })
    .where("id", "=", id)
    .where("lease_owner", "=", owner)
    .executeTakeFirst();
  return done.numUpdatedRows > 0n;
}

/** Gives a lease back, if it is still held: what is due is for whoever comes next. */
export async function release(store: Store, owner: string, id: string): Promise<void> {
  await store.db
    .updateTable("load_balancers")
    .set({ lease_owner: null, lease_until: null })
    .where("id", "=", id)
    .where("lease_owner", "=", owner)
    .execute();
}

/** Gives every lease back, on the way out. */
export async function giveBack(store: Store, owner: string): Promise<void> {
  await store.db
    .updateTable("load_balancers")
    .set({ lease_owner: null, lease_until: null })
    .where("lease_owner", "=", owner)
    .execute();
}
