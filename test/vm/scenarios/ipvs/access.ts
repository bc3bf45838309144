/** Who may connect and how often, which member a client comes back to, and for how long it is remembered. */
import assert from "node:assert/strict";
import { execa } from "execa";
import { eventually } from "../../../support/agent.ts";
import { askUdp, Flow, refusal } from "../../../support/flows.ts";
import { idOf, listener, member, pool } from "../../../support/specs.ts";
import { VIP, VIP6 } from "../../../support/tenant.ts";
import type { Inside } from "../../../support/vm/inside.ts";
import { forward, forwardPool, type Lab, sixMembers } from "./lab.ts";

export async function access(vm: Inside, lab: Lab): Promise<void> {
  const { check } = vm;
  const both = [forwardPool([member(1), member(2), member(3), ...sixMembers])];
  const ask = async (localAddress?: string) => {
    const flow = await Flow.open(vm, VIP, 80, localAddress === undefined ? {} : { localAddress });
    const { member } = await flow.ask();
    flow.close();
    return member;
  };

  await check("allowed_cidrs admit and refuse, each family by itself", async () => {
    await lab.apply({ listeners: [forward({ allowed_cidrs: ["10.77.0.23/32", "fd77::/64"] })], pools: both });
    assert.equal(await refusal(vm, VIP, 80, { localAddress: "10.77.0.23" }), null);
    assert.equal(await refusal(vm, VIP, 80, { localAddress: "10.77.0.24" }), "ECONNREFUSED");
    assert.equal(await refusal(vm, VIP6, 80), null);
    await lab.apply({ listeners: [forward({ allowed_cidrs: ["10.77.0.0/24"] })], pools: both });
    assert.equal(await refusal(vm, VIP, 80, { localAddress: "10.77.0.24" }), null);
    assert.equal(await refusal(vm, VIP6, 80), "ECONNREFUSED");
  });

  await check("a datagram that is not allowed is not answered", async () => {
    const pools = [pool(1, [member(1)], { protocol: "UDP" })];
    const udp = (allowed_cidrs: string[]) => [listener(1, { protocol: "UDP", allowed_cidrs })];
    await lab.apply({ listeners: udp(["10.77.0.23/32"]), pools });
    assert.equal(await askUdp(VIP, 80, { localAddress: "10.77.0.24" }, 500), null);
    assert.equal((await askUdp(VIP, 80, { localAddress: "10.77.0.23" }))?.member, 1);
  });

  await check("allowed_cidrs reach the kernel without anything else being touched", async () => {
    await lab.apply({ listeners: [forward()], pools: both });
    const flow = await Flow.open(vm, VIP, 80);
    const keepalived = await lab.keepalived();
    const { how } = await lab.apply({ listeners: [forward({ allowed_cidrs: ["10.77.0.0/24"] })], pools: both });
    assert.equal(how, "runtime");
    assert.equal(await lab.keepalived(), keepalived);
    await flow.ask();
    flow.close();
  });

  await check("connection_limit: as many as fit, and a place is free when one ends", async () => {
    // what is left of earlier connections may still be sent again, and would count
    const unused = 88;
    await lab.apply({ listeners: [forward({ connection_limit: 5, protocol_port: unused })], pools: both });
    const flows = await Promise.all([1, 2, 3, 4, 5].map(() => Flow.open(vm, VIP, unused)));
    assert.equal(await refusal(vm, VIP, unused), "ECONNREFUSED");
    await eventually("it is reported", async () => (await lab.agent.health()).listeners[idOf("listener")] === "FULL");
    flows[0]?.close();
    await eventually("a closed one leaves a place", async () => (await refusal(vm, VIP, unused)) === null);
    flows[1]?.reset();
    await eventually("and so does a reset one", async () => (await refusal(vm, VIP, unused)) === null);
    for (const flow of flows) flow.close();
  });

  await check(
    "SOURCE_IP: a client has one member, SOURCE_IP_PORT: each of its connections may have another",
    async () => {
      const apply = (lb_algorithm: "SOURCE_IP" | "SOURCE_IP_PORT") =>
        lab.apply({
          listeners: [forward()],
          pools: [forwardPool([member(1), member(2), member(3)], { lb_algorithm })],
        });
      await apply("SOURCE_IP");
      for (const address of ["10.77.0.21", "10.77.0.22", "10.77.0.1"]) {
        assert.equal(new Set(await Promise.all([1, 2, 3, 4].map(() => ask(address)))).size, 1, address);
      }
      await apply("SOURCE_IP_PORT");
      assert.ok(new Set(await Promise.all(Array.from({ length: 24 }, () => ask()))).size > 1);
    },
  );

  await check("persistence holds a client to its member, and its neighbours by granularity", async () => {
    const persistent = (persistence_granularity: string | null, changes = {}) =>
      lab.apply({
        listeners: [forward()],
        pools: [
          forwardPool([member(1), member(2), member(3, changes)], {
            session_persistence: { type: "SOURCE_IP", persistence_timeout: 60, persistence_granularity },
          }),
        ],
      });
    await persistent(null);
    assert.equal(new Set([await ask(), await ask(), await ask(), await ask()]).size, 1);
    assert.notEqual(new Set([await ask("10.77.0.21"), await ask("10.77.0.22"), await ask("10.77.0.23")]).size, 1);
    await execa("conntrack", ["-F"]).catch(() => undefined);
    await persistent("255.255.255.0");
    const first = await ask("10.77.0.24");
    assert.equal(await ask("10.77.0.24"), first);
    const [service] = await lab.table();
    assert.deepEqual(service?.persistence, { timeout: 60, granularity: "255.255.255.0" });
  });

  await check("a client that persists on a drained member gets another one", async () => {
    const apply = (weight: number) =>
      lab.apply({
        listeners: [forward()],
        pools: [
          forwardPool([member(1), member(2, { weight })], {
            session_persistence: { type: "SOURCE_IP", persistence_timeout: 300 },
          }),
        ],
      });
    await apply(256);
    const flow = await Flow.open(vm, VIP, 80, { localAddress: "10.77.0.24" });
    const held = await flow.ask();
    await apply(0);
    if (held.member === 2) assert.equal(await ask("10.77.0.24"), 1);
    await flow.ask();
    flow.close();
  });

  await check("time-outs reach the kernel, and nothing else is touched", async () => {
    await lab.apply({ listeners: [forward()], pools: both });
    const flow = await Flow.open(vm, VIP, 80);
    const keepalived = await lab.keepalived();
    await lab.apply({
      lvs_tcp_timeout: 901,
      lvs_tcpfin_timeout: 31,
      lvs_udp_timeout: 2,
      listeners: [forward()],
      pools: both,
    });
    assert.deepEqual(await lab.timeouts(), { tcp: 901, tcpfin: 31, udp: 2 });
    assert.equal(await lab.keepalived(), keepalived);
    await flow.ask();
    flow.close();
  });

  await check("a UDP flow is forgotten after its time-out, by IPVS and by conntrack", async () => {
    const pools = [pool(1, [member(1)], { protocol: "UDP" })];
    await lab.apply({ lvs_udp_timeout: 2, listeners: [listener(1, { protocol: "UDP" })], pools });
    const known = () => lab.inside("conntrack", "-L", "-p", "udp", "--orig-port-src", "7071");
    await eventually("it is known", async () => {
      await askUdp(VIP, 80, { localPort: 7071 });
      return (await known()).includes("sport=7071");
    });
    await eventually("it is forgotten", async () => !(await known()).includes("sport=7071"));
  });
}
