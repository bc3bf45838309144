/** Facts about the deployment as a whole, each under a name. */
import { randomBytes } from "node:crypto";
import type { Store } from "./database.ts";

export async function readFact(store: Store, key: string): Promise<string | null> {
  const row = await store.db.selectFrom("deployment").select("value").where("key", "=", key).executeTakeFirst();
  return row?.value ?? null;
}

export async function writeFact(store: Store, key: string, value: string): Promise<void> {
  await store.db
    .insertInto("deployment")
    .values({ key, value })
    .onConflict((conflict) => conflict.column("key").doUpdateSet({ value }))
    .execute();
}

/** Writes a fact down where there is none under that name. @returns the one that holds */
export async function claimFact(store: Store, key: string, value: string): Promise<string> {
  await store.db
    .insertInto("deployment")
    .values({ key, value })
    .onConflict((conflict) => conflict.column("key").doNothing())
    .execute();
  return (await readFact(store, key)) ?? value;
}

/** Four hexadecimal digits that tell this deployment's links and namespaces on a host from others'; the same for ever. */
export function deploymentId(store: Store): Promise<string> {
  return claimFact(store, "id", randomBytes(2).toString("hex"));
}
