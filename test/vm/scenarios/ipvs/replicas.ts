/** Several amphorae that serve one VIP at once: flows are spread over their kernels, and outlive the others. */
import assert from "node:assert/strict";
import { alive, askUdp, Flow, type Seen } from "../../../support/flows.ts";
import { address, address6, setCable, VIP, VIP6 } from "../../../support/group.ts";
import { idOf, listener, member, pool } from "../../../support/specs.ts";
import type { Inside } from "../../../support/vm/inside.ts";
import type { DataPlanes } from "./data-planes.ts";

const SPEC = {
  listeners: [
    listener(1, { protocol: "FORWARD_TCP", protocol_port: 80 }),
    listener(2, { protocol: "UDP", protocol_port: 80, default_pool_id: idOf("pool", 2) }),
  ],
  pools: [
    pool(1, [member(1), member(2), member(3), member(11, { address: "fd77::21" })], { protocol: "FORWARD_TCP" }),
    pool(2, [member(21, { address: "10.77.0.21" }), member(22, { address: "10.77.0.22" })], { protocol: "UDP" }),
  ],
};
const FLOWS = 45;

interface Served {
  readonly flow: Flow;
  readonly replica: number;
}

/** @param revision of the spec that they get */
export async function replicas({ check, note, ...vm }: Inside, planes: DataPlanes, revision: number): Promise<void> {
  const indexes = [...planes.all.keys()];
  /** The one that forwarded: members see its own address. */
  const replicaOf = (seen: Seen | null) =>
    indexes.findIndex((n) => seen?.address === address(n) || seen?.address === address6(n));
  const open = async (many: number, to = VIP) => {
    const flows: Served[] = [];
    for (let i = 0; i < many; i++) {
      const flow = await Flow.open(vm, to, 80).catch(async (error: unknown) => {
        throw new Error(`flow ${i} to ${to}: ${await planes.describe()}`, { cause: error });
      });
      flows.push({ flow, replica: replicaOf(await flow.ask()) });
    }
    return flows;
  };
  const living = (served: readonly Served[]) => alive(served.map(({ flow }) => flow));
  const shares = (numbers: readonly number[]) => indexes.map((n) => numbers.filter((each) => each === n).length);
  const ports = Array.from({ length: 30 }, (_, i) => 7200 + i);
  const datagrams = async () =>
    (await Promise.all(ports.map((localPort) => askUdp(VIP, 80, { localPort }, 3000)))).map(replicaOf);
  const split = (dead: number) => [
    flows.filter((one) => one.replica === dead),
    flows.filter((one) => one.replica !== dead),
  ];
  let flows: Served[] = [];

  await check("flows of TCP, in both families, and of datagrams are spread over three replicas", async () => {
    await planes.apply(revision, { replicas: "DIRECT" }, SPEC);
    await planes.serving(indexes);
    await planes.master();
    flows = [...(await open(FLOWS)), ...(await open(FLOWS, VIP6))];
    const [tcp, udp] = [shares(flows.map(({ replica }) => replica)), shares(await datagrams())];
    note(`flows of each replica: TCP ${tcp.join(", ")}, UDP ${udp.join(", ")}`);
    // a third each but for chance
    for (const each of tcp) assert.ok(each > flows.length / 9 && each < (flows.length * 2) / 3, `${tcp}`);
    assert.deepEqual([Math.min(...udp) > 0, udp.reduce((sum, each) => sum + each)], [true, ports.length], `${udp}`);
    assert.equal(await living(flows), flows.length);
    assert.deepEqual(shares(await datagrams()), udp, "flows of datagrams stay where they are");
  });

  await check("a replica dies: its flows are cut, those of the others go on, and new ones avoid it", async () => {
    const dead = ((await planes.master()) + 1) % indexes.length;
    await setCable(dead, "down");
    await planes.serving(indexes.filter((n) => n !== dead));
    const [its = [], others = []] = split(dead);
    assert.equal(await living(others), others.length);
    assert.equal(await living(its), 0);
    assert.deepEqual(new Set(its.map(({ flow }) => flow.ended)), new Set(["ECONNRESET"]));
    const fresh = await open(20);
    assert.ok([...fresh.map(({ replica }) => replica), ...(await datagrams())].every((n) => n >= 0 && n !== dead));
    await setCable(dead, "up");
    await planes.serving(indexes);
    assert.equal(await living([...others, ...fresh]), others.length + fresh.length, "none moves when it is back");
    flows = others;
    assert.ok((await open(60)).some(({ replica }) => replica === dead));
  });

  await check("the one that holds the VIPs dies: flows of the others go on", async () => {
    const dead = await planes.master();
    await setCable(dead, "down");
    await planes.serving(indexes.filter((n) => n !== dead));
    await planes.master(dead);
    const [, others = []] = split(dead);
    assert.ok(others.length > 8);
    assert.equal(await living(others), others.length);
    assert.ok((await open(20)).every(({ replica }) => replica >= 0 && replica !== dead));
  });
  for (const { flow } of flows) flow.reset();
}
