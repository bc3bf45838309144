/** Load balancers of more than one amphora, from the API to the traffic: made, grown, failed over, and half dead. */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import t, { type Test } from "tap";
import { signal } from "../../agent/process.ts";
import { Deployment, type Json, LBAAS, makeFlavor, makeSite, type Site, until } from "../support/deployment.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";
import { processesIn } from "../support/namespaces.ts";

interface Scene {
  readonly deployment: Deployment;
  readonly site: Site;
}

async function scene(t: Test, flavorData: Json): Promise<Scene> {
  const deployment = await Deployment.make(t);
  await deployment.start();
  const machine = await Machine.make(t, "10.77.0.201/24", "10.77.0.1");
  await machine.serve();
  const flavor = await makeFlavor(deployment, flavorData);
  const site = await makeSite(deployment, [{ address: machine.address, port: WEB_PORT }], undefined, {
    flavor_id: flavor,
  });
  await serving(site);
  return { deployment, site };
}

async function amphorae({ deployment, site }: Scene): Promise<Json[]> {
  const { body } = await deployment.call("GET", `/v2.0/octavia/amphorae?loadbalancer_id=${site.id}`);
  return body.amphorae as unknown as Json[];
}

const ids = (rows: readonly Json[]) => rows.map(({ id }) => String(id)).sort();

async function isServing({ vip }: Site): Promise<boolean> {
  try {
    const response = await fetch(`http://${vip}/`, {
      // what was lost once is sent again within it
      signal: AbortSignal.timeout(2500),
      headers: { connection: "close" },
    });
    await response.text();
    return response.ok;
  } catch {
    return false;
  }
}

const serving = (site: Site) => until("the load balancer serves", () => isServing(site));

/** The amphora that has the VIP. */
async function holder(made: Scene): Promise<string> {
  let found = "";
  await until("one has the VIP", async () => {
    for (const id of ids(await amphorae(made))) {
      const { stdout } = await execa("ip", ["-n", await namespaceOf(id), "-o", "address"]);
      if (stdout.includes(`${made.site.vip}/32`)) found = id;
    }
    return found !== "";
  });
  return found;
}

/** Nobody starts its HAProxy again: the agent hangs. */
async function loseHaproxy({ deployment }: Scene, id: string): Promise<void> {
  process.kill(await deployment.agentPid(id), "SIGSTOP");
  for (const pid of await processesIn(await namespaceOf(id))) {
    // some live for a moment only
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (command.includes("haproxy.cfg")) signal(pid, "SIGKILL");
  }
}

async function namespaceOf(amphoraId: string): Promise<string> {
  return (await readdir("/run/netns")).find((each) => each.endsWith(amphoraId.slice(0, 13))) ?? "";
}

/** Asks all the time. @returns how to stop, and how many of the questions had no answer */
function asking(site: Site): () => Promise<{ asked: number; failed: number }> {
  let [stop, asked, failed] = [false, 0, 0];
  const done = (async () => {
    while (!stop) {
      asked++;
      if (!(await isServing(site))) failed++;
    }
  })();
  return async () => {
    stop = true;
    await done;
    return { asked, failed };
  };
}

/** Reads the statistics all the time. @returns how to stop, and the total of connections each time */
function counting({ deployment, site }: Scene): () => Promise<number[]> {
  const totals: number[] = [];
  let stop = false;
  const done = (async () => {
    while (!stop) {
      const { total_connections } = await deployment.show("stats", `/loadbalancers/${site.id}/stats`);
      totals.push(Number(total_connections));
      await sleep(100);
    }
  })();
  // a test that has failed before it stops this says why itself
  done.catch(() => undefined);
  return async () => {
    stop = true;
    await done;
    return totals;
  };
}

t.test("ACTIVE_STANDBY: two amphorae, a failover of both, and of one", async (t) => {
  const made = await scene(t, { loadbalancer_topology: "ACTIVE_STANDBY" });
  const { deployment, site } = made;
  const first = await amphorae(made);
  t.strictSame(first.map(({ role, vrrp_priority }) => [role, vrrp_priority]).sort(), [
    ["BACKUP", 90],
    ["MASTER", 100],
  ]);
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { operating_status: "ONLINE" });

  const stop = asking(site);
  const totals = counting(made);
  await deployment.change("PUT", `${LBAAS}/loadbalancers/${site.id}/failover`);
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" }, 60_000);
  const second = await amphorae(made);
  t.equal(second.length, 2);
  t.strictSame(
    ids(second).filter((id) => ids(first).includes(id)),
    [],
    "both are new",
  );

  const [one] = second;
  await deployment.change("PUT", `/v2.0/octavia/amphorae/${one?.id}/failover`);
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" }, 60_000);
  const third = await amphorae(made);
  t.equal(third.length, 2);
  t.equal(ids(third).filter((id) => ids(second).includes(id)).length, 1, "one of them is new");
  const { asked, failed } = await stop();
  // each switch may fail what is asked within it
  t.ok(failed <= 4, `${failed} of ${asked} failed`);
  await serving(site);

  await loseHaproxy(made, await holder(made));
  // sooner than the controller misses it
  await until("the other serves", () => isServing(site), 8000);
  const seen = await totals();
  t.ok((seen.at(-1) ?? 0) > 0, "requests were counted");
  t.strictSame(
    seen,
    seen.toSorted((a, b) => a - b),
    "whoever served and has gone, the totals never fell",
  );
});

t.test("ACTIVE_ACTIVE: replicas come and go with the flavor", async (t) => {
  const made = await scene(t, { loadbalancer_topology: "ACTIVE_ACTIVE", replicas: 3 });
  const { deployment, site } = made;
  t.equal((await amphorae(made)).length, 3);
  const two = await makeFlavor(deployment, { loadbalancer_topology: "ACTIVE_ACTIVE", replicas: 2 });
  await deployment.change("PUT", `${LBAAS}/loadbalancers/${site.id}`, { loadbalancer: { flavor_id: two } });
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" }, 60_000);
  t.equal((await amphorae(made)).length, 2);
  await serving(site);
  const single = await makeFlavor(deployment, { loadbalancer_topology: "SINGLE" });
  await deployment.change("PUT", `${LBAAS}/loadbalancers/${site.id}`, { loadbalancer: { flavor_id: single } });
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" }, 60_000);
  t.strictSame(
    (await amphorae(made)).map(({ role }) => role),
    ["STANDALONE"],
  );
  t.ok(await isServing(site), "the one serves at once");

  const stop = asking(site);
  await deployment.change("PUT", `${LBAAS}/loadbalancers/${site.id}/failover`);
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" }, 60_000);
  const [second] = await amphorae(made);
  t.ok(await isServing(site), "its successor serves at once");
  process.kill(await deployment.agentPid(String(second?.id)), "SIGSTOP");
  await deployment.change("PUT", `/v2.0/octavia/amphorae/${second?.id}/failover`);
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" }, 60_000);
  t.not((await amphorae(made))[0]?.id, second?.id, "one that hangs is replaced");
  t.ok(await isServing(site), "who replaces one that hangs serves at once");
  const { asked, failed } = await stop();
  // what is asked while the VIP passes from one to the other
  t.ok(failed <= 4, `${failed} of ${asked} failed`);
  await deployment.change("PUT", `${LBAAS}/loadbalancers/${site.id}`, { loadbalancer: { flavor_id: two } });
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" }, 60_000);
  t.equal((await amphorae(made)).length, 2);
  await serving(site);
  const whole = () =>
    until("every request is answered", async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => isServing(site)));
      return answers.every((each) => each);
    });
  await whole();

  const before = ids(await amphorae(made));
  await deployment.change("PUT", `${LBAAS}/loadbalancers/${site.id}/failover`);
  // less than it takes until what went wrong is tried again
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" }, 25_000);
  const after = ids(await amphorae(made));
  t.equal(after.length, 2);
  t.notOk(
    after.some((id) => before.includes(id)),
    "both are new",
  );
  await whole();
});
