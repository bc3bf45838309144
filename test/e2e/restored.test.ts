/** The store is put back from a backup, while the amphorae have gone on. */
import { copyFile, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { Deployment, LBAAS, makeSite } from "../support/deployment.ts";

t.test("a load balancer whose amphora is ahead of the store follows the store again", async (t) => {
  const deployment = await Deployment.make(t);
  await deployment.start();
  const site = await makeSite(deployment, []);
  const database = join(deployment.dataDir, "amphora.db");
  const backup = join(deployment.dataDir, "backup.db");
  const live = new DatabaseSync(database);
  live.exec(`VACUUM INTO '${backup}'`);
  live.close();
  const listener = `${LBAAS}/listeners/${site.listener}`;
  for (let i = 0; i < 3; i++)
    await deployment.change("PUT", listener, { listener: { timeout_client_data: 70_000 + i } });
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" });

  await deployment.stop();
  for (const suffix of ["-wal", "-shm"]) await rm(database + suffix, { force: true });
  await copyFile(backup, database);
  await deployment.start();

  await deployment.change("PUT", listener, { listener: { timeout_client_data: 80_000 } });
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" });
  const { body } = await deployment.call("GET", "/v2.0/octavia/amphorae");
  const [amphora] = body.amphorae as unknown as { id: string }[];
  const config = join(deployment.dataDir, "amphorae", String(amphora?.id), "etc/haproxy/haproxy.cfg");
  t.match(await readFile(config, "utf8"), /timeout client 80000$/m);
});
