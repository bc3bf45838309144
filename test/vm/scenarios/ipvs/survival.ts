/** What is killed comes back without a connection lost, what is changed by hand is put right, what is over is gone. */
import assert from "node:assert/strict";
import { eventually } from "../../../support/agent.ts";
import { Flow, refusal } from "../../../support/flows.ts";
import { idOf, member, monitor } from "../../../support/specs.ts";
import { tenantSpec, VIP } from "../../../support/tenant.ts";
import type { Inside } from "../../../support/vm/inside.ts";
import { forward, forwardPool, type Lab, POOL, settled } from "./lab.ts";

export async function survival(vm: Inside, lab: Lab): Promise<void> {
  const { check } = vm;
  const { agent } = lab;
  const health_monitor = monitor({ type: "TCP", delay: 1, timeout: 1, max_retries: 1, max_retries_down: 1 });
  const spec = { listeners: [forward()], pools: [forwardPool([member(1), member(2)], { health_monitor })] };

  await check("keepalived killed at once is started again, and a connection goes on", async () => {
    await lab.apply(spec);
    await settled(lab, { 1: 1, 2: 1 });
    const flow = await Flow.open(vm, VIP, 80);
    const before = await lab.keepalived();
    process.kill(before, "SIGKILL");
    await eventually("another one runs", async () => {
      const now = await lab.keepalived().catch(() => 0);
      return now > 0 && now !== before;
    });
    await flow.ask();
    await settled(lab, { 1: 1, 2: 1 });
    assert.equal(await refusal(vm, VIP, 80), null);
    await lab.four[0]?.deaf();
    await settled(lab, { 2: 1 });
    await lab.four[0]?.listen();
    await settled(lab, { 1: 1, 2: 1 });
    await flow.ask();
    flow.close();
  });

  await check("an agent that is killed finds keepalived, table, counters and failed members as they are", async () => {
    await lab.four[0]?.deaf();
    await settled(lab, { 2: 1 });
    const flow = await Flow.open(vm, VIP, 80);
    await flow.ask();
    const before = await agent.stats();
    const keepalived = await lab.keepalived();
    await agent.end("SIGKILL");
    await flow.ask();
    await agent.start();
    await eventually("it reports", async () => (await agent.health()).pools[POOL]?.[idOf("member")] === "DOWN");
    assert.equal(await lab.keepalived(), keepalived);
    await flow.ask();
    const [then, now] = [before.listeners[idOf("listener")], (await agent.stats()).listeners[idOf("listener")]];
    assert.ok((now?.total_connections ?? 0) >= (then?.total_connections ?? 1));
    assert.match((await agent.call("GET", "/metrics")).text, /amphora_listener_total_connections\{listener="3{8}/);
    flow.close();
    await settled(lab, { 2: 1 });
    await lab.four[0]?.listen();
    await settled(lab, { 1: 1, 2: 1 });
  });

  await check("what somebody changes by hand is put right", async () => {
    await lab.inside("ipvsadm", "-e", "-t", `${VIP}:80`, "-r", "10.77.0.21:8080", "-m", "-w", "77");
    await lab.inside("ipvsadm", "-A", "-u", `${VIP}:9999`, "-s", "rr");
    await lab.inside("ipvsadm", "-E", "-t", `${VIP}:80`, "-s", "rr");
    await lab.inside("ipvsadm", "--set", "11", "11", "11");
    await settled(lab, { 1: 1, 2: 1 });
    await eventually("all is as it was", async () => {
      const [table, timeouts] = [await lab.table(), await lab.timeouts()];
      return table.length === 1 && table[0]?.scheduler.name === "wrr" && timeouts?.tcp === 300;
    });
    await lab.inside("ipvsadm", "-C");
    await settled(lab, { 1: 1, 2: 1 });
  });

  await check("a total never falls when a service is made anew", async () => {
    const total = async () => (await agent.stats()).listeners[idOf("listener")]?.total_connections ?? 0;
    const before = await total();
    await lab.inside("ipvsadm", "-C");
    await settled(lab, { 1: 1, 2: 1 });
    assert.ok((await total()) >= before);
    assert.equal(await refusal(vm, VIP, 80), null);
    await eventually("it counts on", async () => (await total()) > before);
  });

  await check("a spec that is refused changes nothing", async () => {
    const flow = await Flow.open(vm, VIP, 80);
    const table = JSON.stringify((await lab.table()).map(({ vip, scheduler }) => ({ vip, scheduler })));
    const document = tenantSpec(agent, 1000, { ...spec, listeners: [forward({ protocol_port: 70_000 })] });
    const { status, problems } = await agent.refused(document);
    assert.equal(status, 422);
    assert.match(problems[0]?.path ?? "", /^listeners\[0\]\.protocol_port$/);
    assert.equal(JSON.stringify((await lab.table()).map(({ vip, scheduler }) => ({ vip, scheduler }))), table);
    await flow.ask();
    flow.close();
  });

  await check("with the last IPVS listener go keepalived, its table, and every rule", async () => {
    const pid = await lab.keepalived();
    await lab.apply({ listeners: [], pools: [] });
    assert.deepEqual(await lab.table(), []);
    assert.equal(await lab.inside("nft", "list", "tables"), "");
    assert.throws(() => process.kill(pid, 0));
    assert.equal(await refusal(vm, VIP, 80), "ECONNREFUSED");
  });
}
