/** Members come and go, are drained, fail and return: connections of the others never notice. */
import assert from "node:assert/strict";
import { runInside } from "../../../../agent/dataplane/inside.ts";
import { eventually } from "../../../support/agent.ts";
import { askUdp, Flow } from "../../../support/flows.ts";
import { idOf, listener, member, monitor, pool } from "../../../support/specs.ts";
import { Member, VIP } from "../../../support/tenant.ts";
import type { Inside } from "../../../support/vm/inside.ts";
import { forward, forwardPool, type Lab, POOL, settled } from "./lab.ts";

/** How many connections are open while members change. */
const FLOWS = 10_000;
/** As many are opened, or asked, at a time. */
const AT_ONCE = 250;

export async function members(vm: Inside, lab: Lab): Promise<void> {
  const { check } = vm;
  const listeners = [forward()];
  const tcp = (max_retries: number) => monitor({ type: "TCP", delay: 1, timeout: 1, max_retries, max_retries_down: 2 });
  const from = async (count: number, localAddress?: string) => {
    const flows = await Promise.all(
      Array.from({ length: count }, () => Flow.open(vm, VIP, 80, localAddress === undefined ? {} : { localAddress })),
    );
    const seen = await Promise.all(flows.map((flow) => flow.ask()));
    for (const flow of flows) flow.close();
    return seen.map((each) => each.member);
  };

  await check("connections are shared out by weight", async () => {
    await lab.apply({ listeners, pools: [forwardPool([member(1, { weight: 3 }), member(2)])] });
    const seen = await from(20);
    assert.deepEqual([seen.filter((n) => n === 1).length, seen.filter((n) => n === 2).length], [15, 5]);
  });

  await check(`${FLOWS} flows live on while members are added, drained, disabled and removed`, async () => {
    await lab.apply({ listeners, pools: [forwardPool([member(1), member(2), member(3)])] });
    const keepalived = await lab.keepalived();
    const flows: Flow[] = [];
    while (flows.length < FLOWS) {
      flows.push(...(await Promise.all(Array.from({ length: AT_ONCE }, () => Flow.open(vm, VIP, 80, {}, 30_000)))));
    }
    const memberOf = await membersByPort(lab);
    const of = (...numbers: number[]) =>
      flows.filter(({ localPort }) => numbers.includes(memberOf.get(localPort) ?? 0));
    for (const n of [1, 2, 3]) assert.ok(of(n).length > FLOWS / 4, `member ${n} has ${of(n).length}`);
    const go = async (some: readonly Flow[]) => {
      for (let i = 0; i < some.length; i += AT_ONCE) {
        const slice = some.slice(i, i + AT_ONCE);
        const seen = await Promise.all(slice.map((flow) => flow.ask()));
        assert.deepEqual(
          seen.map((each) => each.member),
          slice.map(({ localPort }) => memberOf.get(localPort)),
        );
      }
    };
    /** None of them has ended, and of some it is seen that they go on. */
    const open = async (...numbers: number[]) => {
      const some = of(...numbers);
      assert.deepEqual(
        some.filter(({ ended }) => ended !== null),
        [],
      );
      await go(some.filter((_, i) => i % 100 === 0));
    };
    assert.equal(
      (await lab.apply({ listeners, pools: [forwardPool([member(1, { weight: 0 }), member(2), member(3)])] })).how,
      "reload",
    );
    await open(1, 2, 3);
    assert.ok(!(await from(6)).includes(1), "a drained member gets no new connection");
    await lab.apply({
      listeners,
      pools: [forwardPool([member(1, { admin_state_up: false }), member(2, { weight: 9 }), member(3)])],
    });
    await open(1, 2, 3);
    await lab.apply({
      listeners,
      pools: [forwardPool([member(2, { weight: 9 }), member(3), member(5)], { lb_algorithm: "LEAST_CONNECTIONS" })],
    });
    await open(2, 3);
    await assert.rejects(() => of(1)[0]?.ask() ?? Promise.resolve(), "a connection to a removed member ends");
    await lab.apply({ listeners, pools: [forwardPool([member(1), member(2), member(3)])] });
    await go(of(2, 3));
    assert.equal(await lab.keepalived(), keepalived);
    for (const flow of flows) flow.reset();
    // a member that was removed is not told of the end
    const left = () => lab.four.slice(1).reduce((sum, { connections }) => sum + connections, 0);
    await eventually("the others' are over", async () => left() === 0, 30_000);
  });

  await check(
    "a member leaves after as many failures, and returns after as many successes; keepalived stays",
    async () => {
      const pools = [forwardPool([member(1), member(2)], { health_monitor: tcp(3) })];
      await lab.apply({ listeners, pools });
      await settled(lab, { 1: 1, 2: 1 });
      const keepalived = await lab.keepalived();
      const flows = await Promise.all([1, 2, 3, 4].map(() => Flow.open(vm, VIP, 80)));
      const seen = await Promise.all(flows.map((flow) => flow.ask()));
      await lab.four[0]?.deaf();
      await settled(lab, { 2: 1 });
      await eventually(
        "it is reported",
        async () => (await lab.agent.health()).pools[POOL]?.[idOf("member")] === "DOWN",
      );
      for (const [i, flow] of flows.entries()) if (seen[i]?.member === 2) await flow.ask();
      assert.deepEqual(new Set(await from(4)), new Set([2]));
      const listened = performance.now();
      await lab.four[0]?.listen();
      await settled(lab, { 1: 1, 2: 1 });
      // two delays of 1 s lie between them; on a busy host the first check takes longer than the third
      assert.ok(performance.now() - listened > 1200, "the third success is what counts, not the first");
      assert.equal(await lab.keepalived(), keepalived);
    },
  );

  await check("a changed monitor or weight does not bring a member back that is down", async () => {
    await lab.four[0]?.deaf();
    await lab.apply({ listeners, pools: [forwardPool([member(1), member(2)], { health_monitor: tcp(1) })] });
    await settled(lab, { 2: 1 });
    await lab.apply({
      listeners,
      pools: [forwardPool([member(1, { weight: 5 }), member(2)], { health_monitor: tcp(1) })],
    });
    await settled(lab, { 2: 1 });
    await lab.four[0]?.listen();
    await settled(lab, { 1: 5, 2: 1 });
  });

  await check("backup members take over while every other member is down", async () => {
    const pools = [
      forwardPool([member(1), member(2, { backup: true, weight: 4 }), member(3, { weight: 0 })], {
        health_monitor: tcp(1),
      }),
    ];
    await lab.apply({ listeners, pools });
    await settled(lab, { 1: 1, 2: 0, 3: 0 });
    await lab.four[0]?.deaf();
    await settled(lab, { 2: 4, 3: 0 });
    assert.deepEqual(await from(2), [2, 2]);
    await lab.four[0]?.listen();
    await settled(lab, { 1: 1, 2: 0, 3: 0 });
  });

  await check("HTTP checks: path, codes, host, and successes in a row", async () => {
    const web = await Member.start(vm, 1, "10.77.0.21", 8088);
    const health_monitor = monitor({
      delay: 1,
      timeout: 1,
      max_retries: 3,
      max_retries_down: 2,
      expected_codes: "200,204",
      domain_name: "www.example.com",
    });
    await lab.apply({
      listeners,
      pools: [forwardPool([member(1, { monitor_port: 8088 }), member(2, { monitor_port: 8089 })], { health_monitor })],
    });
    await settled(lab, { 1: 1 });
    web.healthy = false;
    await settled(lab, {});
    web.healthy = true;
    const checks = web.checks;
    await settled(lab, { 1: 1 });
    assert.ok(web.checks - checks >= 3, `${web.checks - checks} successes`);
  });

  await check("PING checks, with and without counting", async () => {
    for (const max_retries of [1, 2]) {
      const health_monitor = monitor({ type: "PING", delay: 1, timeout: 1, max_retries, max_retries_down: 1 });
      await lab.apply({
        listeners,
        pools: [forwardPool([member(1), member(4, { address: "10.77.0.99" })], { health_monitor })],
      });
      await settled(lab, { 1: 1 });
    }
  });

  for (const max_retries of [1, 2]) {
    await check(`UDP-CONNECT finds out that a port is closed, and that a host is gone (${max_retries})`, async () => {
      const health_monitor = monitor({ type: "UDP-CONNECT", delay: 1, timeout: 1, max_retries, max_retries_down: 2 });
      const up = (wanted: Readonly<Record<number, number>>) => settled(lab, wanted, { transport: "UDP" });
      await lab.apply({
        listeners: [listener(1, { protocol: "UDP", protocol_port: 53 })],
        pools: [
          pool(1, [member(1), member(2), member(4, { address: "10.77.0.99" })], { protocol: "UDP", health_monitor }),
        ],
      });
      await up({ 1: 1, 2: 1 });
      await lab.four[1]?.deaf();
      await up({ 1: 1 });
      assert.equal((await askUdp(VIP, 53))?.member, 1);
      await lab.four[1]?.listen();
      await up({ 1: 1, 2: 1 });
    });
  }

  await check("SCTP checks", async () => {
    const health_monitor = monitor({ type: "SCTP", delay: 1, timeout: 1, max_retries: 1, max_retries_down: 1 });
    await lab.apply({
      listeners: [listener(1, { protocol: "SCTP", protocol_port: 53 })],
      pools: [pool(1, [member(3), member(2)], { protocol: "SCTP", health_monitor })],
    });
    await eventually("only the member with an association's port open is up", async () =>
      (await lab.table()).some(
        ({ transport, destinations }) =>
          transport === "SCTP" && destinations.map(({ address }) => address).join() === "10.77.0.23",
      ),
    );
  });
}

/** The number of the member that each connection goes to, by its client's port. */
async function membersByPort(lab: Lab): Promise<Map<number, number>> {
  // thousands of lines take long on a busy host
  const text = await runInside(lab.agent.namespace, ["ipvsadm", "-Lnc"], { timeout: 120_000 });
  const lines = text.matchAll(/^TCP .* \S+:(\d+) +\S+:80 +10\.77\.0\.2(\d):8080/gm);
  return new Map([...lines].map(([, port, number]) => [Number(port), Number(number)]));
}
