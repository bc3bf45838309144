/** A member's server stops and comes back: nobody notices but the operator. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { Deployment, makeSite } from "../support/deployment.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";

t.test("while a member's server is stopped every request is answered, and the statuses tell", async (t) => {
  const deployment = await Deployment.make(t);
  await deployment.start();
  const machines = [
    await Machine.make(t, "10.77.0.201/24", "10.77.0.1"),
    await Machine.make(t, "10.77.0.202/24", "10.77.0.1"),
  ] as const;
  for (const machine of machines) await machine.serve();
  const site = await makeSite(
    deployment,
    machines.map(({ address }) => ({ address, port: WEB_PORT })),
    { type: "HTTP", delay: 1, timeout: 1, max_retries: 2, max_retries_down: 2 },
  );
  const [member1 = ""] = site.members;
  const memberPath = `/pools/${site.pool}/members/${member1}`;
  await deployment.becomes("member", memberPath, { operating_status: "ONLINE" });
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { operating_status: "ONLINE" });

  const answers = new Map<string, number>();
  let stop = false;
  const asking = (async () => {
    while (!stop) {
      const answer = await ask(`http://${site.vip}/`);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
      await sleep(5);
    }
  })();

  await machines[0].stopServing();
  // 2 failed checks, a second apart, and each may take a second
  await deployment.becomes("member", memberPath, { operating_status: "ERROR" }, 15_000);
  await deployment.becomes("pool", `/pools/${site.pool}`, { operating_status: "DEGRADED" }, 2000);
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { operating_status: "DEGRADED" }, 2000);

  await machines[0].serve();
  await deployment.becomes("member", memberPath, { operating_status: "ONLINE" }, 15_000);
  await deployment.becomes("pool", `/pools/${site.pool}`, { operating_status: "ONLINE" }, 2000);
  stop = true;
  await asking;
  t.same(
    [...answers.keys()].sort(),
    machines.map(({ name }) => name),
    "every answer is a member's own",
  );

  for (const machine of machines) await machine.stopServing();
  await deployment.becomes("pool", `/pools/${site.pool}`, { operating_status: "ERROR" }, 8000);
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { operating_status: "ERROR" }, 2000);
  t.equal(await ask(`http://${site.vip}/`), "503");
});

t.test("disabled, draining and unmonitored parts show as such", async (t) => {
  const deployment = await Deployment.make(t);
  await deployment.start();
  const machine = await Machine.make(t, "10.77.0.203/24", "10.77.0.1");
  await machine.serve();
  const site = await makeSite(deployment, [{ address: machine.address, port: WEB_PORT }]);
  const path = `/pools/${site.pool}/members/${site.members[0]}`;
  const change = (kind: string, where: string, values: object) =>
    deployment.change("PUT", `/v2.0/lbaas${where}`, { [kind]: values });

  await deployment.becomes("member", path, { operating_status: "NO_MONITOR" });
  await change("member", path, { weight: 0 });
  await deployment.becomes("member", path, { operating_status: "DRAINING" });
  await change("member", path, { admin_state_up: false });
  await deployment.becomes("member", path, { operating_status: "OFFLINE" });
  t.equal(await ask(`http://${site.vip}/`), "503", "nobody is left to answer");
  await change("member", path, { admin_state_up: true, weight: 5 });
  await deployment.becomes("member", path, { operating_status: "NO_MONITOR" });
  t.equal(await ask(`http://${site.vip}/`), machine.name);

  await change("listener", `/listeners/${site.listener}`, { admin_state_up: false });
  await deployment.becomes("listener", `/listeners/${site.listener}`, { operating_status: "OFFLINE" });
  t.equal(await ask(`http://${site.vip}/`), "no answer");
  await change("listener", `/listeners/${site.listener}`, { admin_state_up: true });
  await deployment.becomes("listener", `/listeners/${site.listener}`, { operating_status: "ONLINE" });
  await change("loadbalancer", `/loadbalancers/${site.id}`, { admin_state_up: false });
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { operating_status: "OFFLINE" });
  t.equal(await ask(`http://${site.vip}/`), "no answer");
});

/** What a client gets: the member's name, a status other than 200, or no answer. */
async function ask(url: string): Promise<string> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(8000), headers: { connection: "close" } });
    const text = (await response.text()).trim();
    return response.status === 200 ? text : String(response.status);
  } catch {
    return "no answer";
  }
}
