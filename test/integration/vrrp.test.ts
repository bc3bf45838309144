/** A pair of amphorae and their VIPs: one holds them, and the other takes them when it can't any more. */
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import t, { type Test } from "tap";
import { signal } from "../../agent/process.ts";
import { eventually } from "../support/agent.ts";
import { Group, type Placing, SHARED, VIP } from "../support/group.ts";
import { Member } from "../support/tenant.ts";

/** One try to reach the VIP on a connection of its own. Where it is away, what was lost is sent again after 1 s. */
function reach(address = VIP): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request({ host: address, port: 80, agent: false, timeout: 900 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.on("timeout", () => call.destroy());
    call.on("error", () => resolve(false));
    call.end();
  });
}

async function pair(t: Test, placing?: Placing): Promise<{ group: Group; master: number; backup: number }> {
  const group = await Group.make(t, 2, placing);
  await Member.start(t, 1);
  await Member.start(t, 2);
  await group.apply(1);
  const master = await group.master();
  await eventually("the other is ready", async () => (await group.state(1 - master)) === "BACKUP");
  await eventually("the VIP is reached", () => reach());
  return { group, master, backup: 1 - master };
}

t.test("one of two holds the VIPs of both families, and the other is ready", async (t) => {
  const { group, master, backup } = await pair(t);
  t.equal(await group.state(backup), "BACKUP");
  t.strictSame(await group.holders(), [master]);
  t.ok(await reach());
  t.ok(await reach("fd77::5"));
});

const DEATHS: Record<string, (group: Group, master: number) => Promise<unknown>> = {
  "its cable is pulled out": (group, master) => group.cable(master, "down"),
  "its keepalived is killed": async (group, master) => {
    await group.agents[master]?.end("SIGKILL");
    for (const pid of await group.pids(master, "keepalived", "vrrp.conf")) signal(pid, "SIGKILL");
  },
  "its HAProxy hangs": async (group, master) => {
    await group.agents[master]?.end("SIGKILL");
    for (const pid of await group.pids(master, "haproxy.cfg")) signal(pid, "SIGSTOP");
  },
  "its HAProxy dies, and nobody starts it again": async (group, master) => {
    await group.agents[master]?.end("SIGKILL");
    for (const pid of await group.pids(master, "haproxy.cfg")) signal(pid, "SIGKILL");
  },
};

for (const [death, happen] of Object.entries(DEATHS)) {
  t.test(`when ${death}, the other takes the VIPs`, async (t) => {
    const { group, master, backup } = await pair(t);
    await happen(group, master);
    await eventually("the other is master", async () => (await group.state(backup)) === "MASTER");
    await eventually("the VIP is reached", () => reach());
    t.ok((await group.holders()).includes(backup));
  });
}

t.test("a HAProxy that dies is back before anybody would have to take over", async (t) => {
  const { group, master } = await pair(t);
  for (const pid of await group.pids(master, "haproxy.cfg")) signal(pid, "SIGKILL");
  await eventually("the VIP is reached", () => reach());
  await eventually("it serves again", async () => (await group.pids(master, "haproxy.cfg")).length > 0);
});

t.test("a keepalived that dies is started again, and lets the new master be", async (t) => {
  const { group, master, backup } = await pair(t);
  for (const pid of await group.pids(master, "keepalived", "vrrp.conf")) signal(pid, "SIGKILL");
  await eventually("it runs again", async () => (await group.state(master)) === "BACKUP");
  await eventually("the other is master", async () => (await group.state(backup)) === "MASTER");
  t.strictSame(await group.holders(), [backup], "and what the dead one has left behind is gone");
});

t.test("one that is told to stand by gives the VIPs away at once, and takes them no more", async (t) => {
  const { group, master, backup } = await pair(t);
  await group.agents[master]?.apply(group.spec(master, 2, {}, true));
  await eventually("the other is master", async () => (await group.state(backup)) === "MASTER");
  t.equal(await group.state(master), "STANDBY");
  await group.cable(backup, "down");
  await sleep(1500);
  t.notOk((await group.holders()).includes(master));
});

t.test("a change reaches both, and VRRP is not disturbed by it", async (t) => {
  const { group, master } = await pair(t);
  const before = await Promise.all([0, 1].map((i) => group.pids(i, "keepalived", "vrrp.conf")));
  await group.apply(2, { vips: [VIP, "fd77::5", "10.77.0.6"] });
  t.equal(await group.master(), master);
  t.strictSame(await Promise.all([0, 1].map((i) => group.pids(i, "keepalived", "vrrp.conf"))), before);
  await eventually("the new VIP is reached", () => reach("10.77.0.6"));
});

t.test("an address that goes with the VIPs on another interface comes and goes, and disturbs nothing", async (t) => {
  const { group, master, backup } = await pair(t, { second: true });
  const holders = () => group.holders(SHARED, "eth2");
  t.strictSame(await holders(), [master]);
  const reached: boolean[] = [];
  const asking = setInterval(() => void reach().then((ok) => reached.push(ok)), 20);
  t.teardown(() => clearInterval(asking));
  const without = (i: number) => {
    const spec = group.spec(i, 2);
    return { ...spec, interfaces: spec.interfaces?.map((each) => ({ ...each, shared_addresses: [] })) ?? [] };
  };
  await Promise.all(group.agents.map((agent, i) => agent.apply(without(i))));
  t.strictSame(await holders(), []);
  await group.apply(3);
  await eventually("it is there again", async () => (await holders()).join() === `${master}`);
  clearInterval(asking);
  t.ok(reached.length > 5, `${reached.length}`);
  t.notOk(reached.includes(false), "the VIP was there all the time");
  t.strictSame(await group.holders(), [master]);
  await group.cable(master, "down");
  await eventually("it has moved with the VIP", async () => (await holders()).includes(backup));
});

t.test("one that was away does not hold the VIPs before it was brought up to date", async (t) => {
  const { group, master, backup } = await pair(t);
  // the instance is switched off
  await group.agents[backup]?.end("SIGKILL");
  for (const pid of await group.pids(backup)) signal(pid, "SIGKILL");
  await group.agents[master]?.apply(group.spec(master, 2));
  await group.agents[backup]?.start();
  await eventually("it waits", async () => (await group.state(backup)) === "WAITING");
  await group.agents[backup]?.apply(group.spec(backup, 2));
  await eventually("it is ready", async () => (await group.state(backup)) === "BACKUP");
});

t.test("one that was away, and hears from no controller, serves after a while", async (t) => {
  const { group } = await pair(t);
  for (const [i, agent] of group.agents.entries()) {
    await agent.end("SIGKILL");
    for (const pid of await group.pids(i)) signal(pid, "SIGKILL");
  }
  await group.agents[0]?.start();
  await eventually("it waits", async () => (await group.state(0)) === "WAITING");
  // the other is off: what its interface still has is nobody's
  t.notOk((await group.holders()).includes(0));
  await eventually("it serves", () => reach());
});

t.test("one that is alone again keeps its VIPs", async (t) => {
  const { group, master } = await pair(t);
  const spec = { ...group.spec(master, 2), role: "STANDALONE" as const, vrrp: null };
  await group.agents[1 - master]?.apply(group.spec(1 - master, 2, {}, true));
  await group.agents[master]?.apply(spec);
  await eventually("the VIP is reached", () => reach());
  t.strictSame(await group.pids(master, "keepalived"), []);
  const { stdout } = await execa("ls", [`${group.agents[master]?.folder}/etc/keepalived`]);
  t.equal(stdout, "");
});
