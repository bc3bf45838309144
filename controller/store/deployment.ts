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

/** Four hexadecimal digits that tell this deployment's links and namespaces on a host from others'; the same for ever. */
export async function deploymentId(store: Store): Promise<string> {
  const fresh = randomBytes(2).toString("hex");
  await store.db
    .insertInto("deployment")
    .values({ key: "id", value: fresh })
    .onConflict((conflict) => conflict.column("key").doNothing())
    .execute();
  return (await readFact(store, "id")) ?? fresh;
}
