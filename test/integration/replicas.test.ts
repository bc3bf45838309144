/** Several amphorae that serve one VIP at once (ACTIVE_ACTIVE): flows are spread, and stay where they are. */
import t, { type Test } from "tap";
import { signal } from "../../agent/process.ts";
import { eventually } from "../support/agent.ts";
import { Flow, TellingMember } from "../support/flows.ts";
import { address, Group, type Placing, VIP, VIP6 } from "../support/group.ts";
import { idOf, listener, member, pool } from "../support/specs.ts";

const TCP = {
  listeners: [listener(1, { protocol: "TCP", protocol_port: 7 })],
  pools: [pool(1, [member(1)], { protocol: "TCP" })],
};

/** A connection through the VIP, and the replica that serves it, by its number. */
interface Served {
  readonly flow: Flow;
  readonly replica: number;
}

async function replicated(t: Test, count: number, placing: Placing, before: object | null = null): Promise<Group> {
  const group = await Group.make(t, count, placing);
  await TellingMember.start(t, 1);
  if (before !== null) {
    await group.apply(1, { ...TCP, ...before });
    await group.master();
  }
  await group.apply(before === null ? 1 : 2, TCP);
  await group.master();
  await eventually("every replica serves, and knows of the others", async () => {
    const reports = await Promise.all(group.agents.map((agent) => agent.health()));
    return reports.every(({ replicas }) => Object.values(replicas ?? {}).filter(Boolean).length === count - 1);
  });
  return group;
}

/** Opens connections one after the other. The member sees who serves each: replicas connect from their own addresses. */
async function open(t: Test, group: Group, count: number, to = VIP): Promise<Served[]> {
  const flows: Served[] = [];
  for (let i = 0; i < count; i++) {
    const flow = await Flow.open(t, to, 7);
    const { address: from } = await flow.ask();
    flows.push({ flow, replica: group.agents.findIndex((_, n) => from === address(n)) });
  }
  return flows;
}

/** How many of the connections still answer. */
async function alive(flows: readonly Served[]): Promise<number> {
  const answers = await Promise.allSettled(flows.map(({ flow }) => flow.ask()));
  return answers.filter(({ status }) => status === "fulfilled").length;
}

const PLACINGS: Record<string, Placing> = {
  "as they came": { replicas: "DIRECT" },
  "in a tunnel": { replicas: "TUNNEL" },
  "as they came, with IPv6": { replicas: "DIRECT", family: 6 },
  "in a tunnel, with IPv6": { replicas: "TUNNEL", family: 6 },
};

for (const [how, placing] of Object.entries(PLACINGS)) {
  t.test(`flows reach every replica ${how}, and outlive a switch of the VIPs`, async (t) => {
    const group = await replicated(t, 3, placing);
    const flows = [...(await open(t, group, 60)), ...(await open(t, group, 60, VIP6))];
    for (const n of [0, 1, 2]) {
      const share = flows.filter(({ replica }) => replica === n).length / flows.length;
      // a third each but for chance: these are five standard deviations from it
      t.ok(share > 0.1 && share < 0.56, `replica ${n} has ${share}`);
    }
    const master = await group.master();
    await group.agents[master]?.apply(group.spec(master, 2, TCP, true));
    await eventually("another holds the VIPs", async () => {
      const holders = await group.holders();
      return holders.length === 1 && holders[0] !== master;
    });
    t.equal(await alive(flows), flows.length, "all of them go on");
  });
}

t.test("when the master dies, the flows of the others go on", async (t) => {
  const group = await replicated(t, 3, { replicas: "DIRECT" });
  const flows = await open(t, group, 60);
  const master = await group.master();
  await group.cable(master, "down");
  await eventually("another holds the VIPs", async () => (await group.holders()).some((each) => each !== master));
  const others = flows.filter(({ replica }) => replica !== master);
  t.ok(others.length > 20);
  t.equal(await alive(others), others.length);
  await eventually("new flows reach those that are left", async () => {
    const some = await open(t, group, 20).catch(() => null);
    return some?.every(({ replica }) => replica !== master);
  });
});

t.test("when another replica dies, its flows are cut, and new ones avoid it", async (t) => {
  const group = await replicated(t, 3, { replicas: "DIRECT" });
  const flows = await open(t, group, 60);
  const master = await group.master();
  const dead = (master + 1) % 3;
  await group.agents[dead]?.end("SIGKILL");
  for (const pid of await group.pids(dead, "haproxy.cfg")) signal(pid, "SIGKILL");
  const others = flows.filter(({ replica }) => replica !== dead);
  t.equal(await alive(others), others.length);
  await eventually("it is known to be dead", async () => {
    const { replicas } = (await group.agents[master]?.health()) ?? {};
    return replicas?.[group.agents[dead]?.id ?? ""] === false;
  });
  const fresh = await open(t, group, 40);
  t.ok(fresh.every(({ replica }) => replica !== dead));
  // and it comes back
  await group.agents[dead]?.start();
  await group.agents[dead]?.apply(group.spec(dead, 2, TCP));
  await eventually("it is known to serve", async () => {
    const { replicas } = (await group.agents[master]?.health()) ?? {};
    return replicas?.[group.agents[dead]?.id ?? ""];
  });
  await eventually("it has flows again", async () =>
    (await open(t, group, 20)).some(({ replica }) => replica === dead),
  );
  t.equal(await alive([...others, ...fresh]), others.length + fresh.length, "no flow moves because of that");
});

t.test("two that were a pair serve both, and each counts what it serves", async (t) => {
  const group = await replicated(t, 2, { replicas: "DIRECT" }, { replicas: null });
  await open(t, group, 30);
  const totals = await Promise.all(
    group.agents.map(async (agent) => (await agent.stats()).listeners[idOf("listener")]?.total_connections ?? 0),
  );
  t.equal(
    totals.reduce((sum, each) => sum + each, 0),
    30,
  );
  t.ok(totals.every((each) => each > 0));
});
