/** Changes and accidents under load: not one request fails. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { ask as askHaproxy, parseProcesses } from "../../agent/dataplane/haproxy-socket.ts";
import { Deployment, LBAAS, makeSite, until } from "../support/deployment.ts";
import { Load } from "../support/load.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";

t.test("50 weight changes, 20 listener changes and a killed agent fail no request", async (t) => {
  const deployment = await Deployment.make(t);
  await deployment.start();
  const machines = [
    await Machine.make(t, "10.77.0.201/24", "10.77.0.1"),
    await Machine.make(t, "10.77.0.202/24", "10.77.0.1"),
  ];
  for (const machine of machines) await machine.serve();
  const site = await makeSite(
    deployment,
    machines.map(({ address }) => ({ address, port: WEB_PORT })),
  );
  const settled = () =>
    deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" });
  const amphora = (await deployment.call("GET", "/v2.0/octavia/amphorae")).body.amphorae?.[0] as unknown as {
    id: string;
  };
  const runDir = await deployment.runDir(amphora.id);
  const haproxy = async () => parseProcesses(await askHaproxy(join(runDir, "haproxy-master.sock"), "show proc"));
  const load = Load.start(`http://${site.vip}/`, 120);

  const first = await haproxy();
  for (let i = 1; i <= 50; i++) {
    await deployment.change("PUT", `${LBAAS}/pools/${site.pool}/members/${site.members[i % 2]}`, {
      member: { weight: (i % 10) + 1 },
    });
  }
  await settled();
  t.same(await haproxy(), first, "weights change in the running worker");

  for (let i = 1; i <= 20; i++) {
    await deployment.change("PUT", `${LBAAS}/listeners/${site.listener}`, {
      listener: { timeout_client_data: 50_000 + i },
    });
  }
  await settled();
  const reloaded = await haproxy();
  t.equal(reloaded.reloads - first.reloads, 20, "each listener change is one reload");
  t.equal(reloaded.master, first.master, "of the same master");

  const before = await deployment.agentPid(amphora.id);
  process.kill(before, "SIGKILL");
  await until("the agent is back", async () => (await deployment.agentPid(amphora.id)) !== before);
  const revision = await runningRevision(deployment, amphora.id);
  // the worker before may have ended meanwhile, with its last connection
  t.same({ ...(await haproxy()), oldWorkers: [] }, { ...reloaded, oldWorkers: [] }, "HAProxy does not notice");
  await deployment.change("PUT", `${LBAAS}/listeners/${site.listener}`, { listener: { name: "changed" } });
  await settled();
  t.equal(await runningRevision(deployment, amphora.id), revision + 1, "the agent goes on from the same revision");

  const { requests, failed, output } = await load.stop();
  t.ok(requests > 1000, `${requests} requests`);
  t.equal(failed, 0, output);

  const { stats } = (await deployment.call("GET", `${LBAAS}/loadbalancers/${site.id}/stats`)).body;
  t.ok(Number(stats?.bytes_out) > requests, "the statistics tell of them");
});

/** The revision in the spec that the agent would come back to. */
async function runningRevision(deployment: Deployment, amphoraId: string): Promise<number> {
  const file = join(deployment.dataDir, "amphorae", amphoraId, "state", "spec.json");
  return JSON.parse(await readFile(file, "utf8")).revision;
}
