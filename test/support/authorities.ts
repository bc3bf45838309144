/** The authorities of a deployment that runs, read beside it. */
import { join } from "node:path";
import { Authorities } from "../../controller/amphorae/authorities.ts";
import { openVault } from "../../controller/secrets/key.ts";
import { Store } from "../../controller/store/database.ts";
import type { Deployment } from "./deployment.ts";
import type { Scope } from "./scope.ts";

export async function authoritiesOf(t: Scope, { dataDir }: Deployment): Promise<Authorities> {
  const store = await Store.open(join(dataDir, "amphora.db"));
  t.teardown(() => store.close());
  return Authorities.open(store, await openVault(store, join(dataDir, "secrets.key")));
}
