/** A pair of amphorae, one of which dies: which connections go on through the other, and which are cut. */
import assert from "node:assert/strict";
import { execa } from "execa";
import { eventually } from "../../../support/agent.ts";
import { alive, askUdp, Flow, TellingMember } from "../../../support/flows.ts";
import { SHARED, setCable, VIP, VIP6 } from "../../../support/group.ts";
import { idOf, listener, member, pool } from "../../../support/specs.ts";
import type { Inside } from "../../../support/vm/inside.ts";
import type { DataPlanes } from "./data-planes.ts";

const ROUTED = "10.79.0.41";
const SECOND = "10.78.0.31";
const NEAR_FLOWS = 50;
const FLOWS = 10;

/** A FORWARD_TCP listener for each place where members are, and one for datagrams. */
const SPEC = {
  listeners: [
    listener(1, { protocol: "FORWARD_TCP", protocol_port: 80 }),
    listener(2, { protocol: "UDP", protocol_port: 80, default_pool_id: idOf("pool", 2) }),
    listener(3, { protocol: "FORWARD_TCP", protocol_port: 81, default_pool_id: idOf("pool", 3) }),
    listener(4, { protocol: "FORWARD_TCP", protocol_port: 82, default_pool_id: idOf("pool", 4) }),
  ],
  pools: [
    pool(1, [member(1), member(2), member(3), member(11, { address: "fd77::21" })], { protocol: "FORWARD_TCP" }),
    pool(2, [member(21, { address: "10.77.0.21" }), member(22, { address: "10.77.0.22" })], { protocol: "UDP" }),
    pool(3, [member(31, { address: ROUTED })], { protocol: "FORWARD_TCP" }),
    pool(4, [member(41, { address: SECOND })], { protocol: "FORWARD_TCP" }),
  ],
};

/** @param revision of the spec that they get */
export async function failover({ check, note, ...vm }: Inside, pair: DataPlanes, revision: number): Promise<void> {
  await execa("ip", ["address", "add", `${ROUTED}/32`, "dev", "lo"]);
  const routed = await TellingMember.start(vm, 6, ROUTED);
  await TellingMember.start(vm, 7, SECOND);
  const open = async (count: number, to: string, port: number) => {
    const flows: Flow[] = [];
    for (let i = 0; i < count; i++) flows.push(await Flow.open(vm, to, port));
    return flows;
  };

  await check(
    "the amphora with the VIPs dies: connections go on through the other, wherever their members are",
    async () => {
      await pair.apply(revision, {}, SPEC);
      const master = await pair.master();
      const other = pair.all[1 - master];
      const flows = {
        "on the VIP's subnet": await open(NEAR_FLOWS, VIP, 80),
        "there, IPv6": await open(FLOWS, VIP6, 80),
        "behind a router there": await open(FLOWS, VIP, 81),
        "on another subnet": await open(FLOWS, VIP, 82),
      };
      const all = Object.values(flows).flat();
      assert.equal(await alive(all), all.length);
      const [there] = await Promise.all(flows["on another subnet"].map((flow) => flow.ask()));
      assert.equal(there?.address, SHARED, "where no VIP is, members see what goes with the VIPs");
      const ports = Array.from({ length: FLOWS }, (_, i) => 7100 + i);
      const datagrams = () => Promise.all(ports.map((localPort) => askUdp(VIP, 80, { localPort }, 5000)));
      const answers = await datagrams();
      assert.ok(answers.every((each) => each?.address === VIP));
      await eventually("the other has been told of all", async () => {
        return ((await other?.connections()) ?? 0) >= all.length + ports.length;
      });
      await setCable(master, "down");
      await pair.master(master);
      // one that speaks first is not told that there is no such connection
      routed.speak();
      const survived = Object.entries(flows).map(async ([where, some]) => [where, await alive(some)] as const);
      const count = Object.fromEntries(await Promise.all(survived));
      note(`connections that outlived a failover, members ${JSON.stringify(count)} of ${NEAR_FLOWS} and ${FLOWS} each`);
      assert.deepEqual(await datagrams(), answers, "datagrams reach the members of before, from the VIP");
      assert.deepEqual(Object.values(count), [NEAR_FLOWS, FLOWS, FLOWS, FLOWS]);
      for (const flow of all) flow.reset();
      await setCable(master, "up");
    },
  );
}
