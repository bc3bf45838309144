/** The controller is killed between a request and its fulfilment: everything asked for comes to be, and nothing twice. */
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import t from "tap";
import { amphoraProcesses, Deployment, hostState, LBAAS } from "../support/deployment.ts";

const KILLS = 20;

t.test(
  "after 20 kills of the controller every load balancer is ACTIVE, and nothing is left over or double",
  async (t) => {
    const before = await hostState();
    const deployment = await Deployment.make(t);
    const accepted = new Set<string>();
    for (let i = 0; i < KILLS; i++) {
      await deployment.start();
      const created = await deployment.call("POST", `${LBAAS}/loadbalancers`, { loadbalancer: { name: `lb${i}` } });
      t.equal(created.status, 201);
      accepted.add(String(created.body.loadbalancer?.id));
      // from before the amphora's row to after its spec, which takes some 800 ms here; spread evenly, the same every time
      await sleep((i * 1000) / KILLS);
      await deployment.kill();
    }
    await deployment.start();
    for (const id of accepted) {
      await deployment.becomes("loadbalancer", `/loadbalancers/${id}`, { provisioning_status: "ACTIVE" }, 60_000);
    }
    const { body } = await deployment.call("GET", `${LBAAS}/loadbalancers`);
    const loadBalancers = body.loadbalancers as unknown as { id: string; vip_address: string }[];
    t.same(new Set(loadBalancers.map(({ id }) => id)), accepted, "each that was accepted is there, and no other");
    t.equal(new Set(loadBalancers.map(({ vip_address }) => vip_address)).size, KILLS, "no address is used twice");
    await t.test("one namespace, one agent, one HAProxy, one link for each", async (t) => {
      const state = await hostState();
      t.equal(state.namespaces.length, KILLS);
      t.equal(state.processes.filter((command) => command.includes("agent/main.ts")).length, KILLS);
      // a master and its worker
      t.equal(state.processes.filter((command) => command.includes("haproxy ")).length, 2 * KILLS);
      t.equal(state.links.filter((name) => name.startsWith("amv")).length, KILLS);
      t.equal(state.links.filter((name) => name.startsWith("amt")).length, 0, "no link waits for its amphora");
      const agents = (await execa("ss", ["-Htln", "sport", "=", "9443"])).stdout.split("\n");
      t.equal(new Set(agents.map((line) => line.split(/\s+/)[3])).size, KILLS, "each has its management address");
    });

    for (const id of accepted) await deployment.change("DELETE", `${LBAAS}/loadbalancers/${id}?cascade=true`);
    await t.test("deleting them all, with kills in between, leaves nothing", async (t) => {
      for (let i = 0; i < 4; i++) {
        await sleep(i * 60);
        await deployment.kill();
        await deployment.start();
      }
      for (const id of accepted) {
        for (;;) {
          const { status } = await deployment.call("GET", `${LBAAS}/loadbalancers/${id}`);
          if (status === 404) break;
          await sleep(50);
        }
      }
      const state = await hostState();
      t.same(state.namespaces, []);
      t.same(state.processes, []);
      t.same(
        state.links.filter((name) => /^am[vt]/.test(name)),
        [],
      );
    });
    t.equal(await deployment.stop(), 0);
    t.same(await hostState(), before);
    t.same(await amphoraProcesses(), []);
  },
);
