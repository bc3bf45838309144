/** An amphora that never comes up. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { Deployment, LBAAS, until } from "../support/deployment.ts";

t.test("an amphora that never answers shows as ERROR with the reason, and another takes its place", async (t) => {
  const deployment = await Deployment.make(t);
  const config = join(deployment.dataDir, "settings.yaml");
  await writeFile(config, JSON.stringify({ "boot-limit-s": 2, "pending-limit-s": 1 }));
  await deployment.start("--config", config);
  const { id } = await deployment.create("loadbalancer", "/loadbalancers", { name: "slow" });
  let first = "";
  await until("its agent has started", async () => {
    [first = ""] = await readdir(join(deployment.dataDir, "amphorae")).catch(() => []);
    return first !== "" && (await agentOf(first)) !== null;
  });
  const agent = await agentOf(first);
  process.kill(agent ?? 0, "SIGSTOP");

  const path = `/loadbalancers/${id}`;
  const failed = await deployment.becomes("loadbalancer", path, { provisioning_status: "ERROR" });
  t.match(failed.status_reason, new RegExp(`^amphora ${first} does not answer its controller: `));
  await deployment.becomes("loadbalancer", path, { provisioning_status: "ACTIVE", status_reason: null }, 60_000);
  const amphorae = await readdir(join(deployment.dataDir, "amphorae"));
  t.equal(amphorae.length, 1);
  t.notOk(amphorae.includes(first));
  t.equal(await agentOf(first), null, "its agent is gone");
  await deployment.change("DELETE", `${LBAAS}${path}?cascade=true`);
});

/** The process of an amphora's agent, or null. */
async function agentOf(amphora: string): Promise<number | null> {
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (command.includes("agent/main.ts") && command.includes(amphora)) return Number(pid);
  }
  return null;
}
