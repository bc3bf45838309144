/** Traffic depends neither on the agent nor on one HAProxy process: what is killed comes back, and to what was there. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { showProcesses } from "../../agent/dataplane/haproxy-socket.ts";
import { signal } from "../../agent/process.ts";
import { eventually, startAgent, type TestAgent } from "../support/agent.ts";
import { listener, member, pool } from "../support/specs.ts";
import { get, Member, OpenConnection, plugTenant, serves, tenantSpec, VIP } from "../support/tenant.ts";

t.test("an agent that is killed leaves HAProxy alone, and its successor adopts it", async (t) => {
  const agent = await serving(t);
  const before = await agent.haproxy();
  const open = await OpenConnection.open(t);
  await agent.end("SIGKILL");
  t.equal((await get()).status, 200, "served without an agent");
  await agent.start();
  await eventually("the agent knows its spec again", async () => (await agent.health()).revision === 7);
  t.strictSame(await agent.haproxy(), before, "the same processes, without a reload");
  t.match(await agent.apply(tenantSpec(agent, 7)), { revision: 7, how: "none" });
  t.match(await open.ask(), /member \d/, "a connection from before goes on");
});

t.test("a successor knows which revision runs", async (t) => {
  const agent = await serving(t);
  await agent.end("SIGKILL");
  await agent.start();
  t.equal((await agent.refused(tenantSpec(agent, 6))).status, 409);
  const other = tenantSpec(agent, 7, { listeners: [listener(1), listener(2)] });
  t.equal((await agent.refused(other)).status, 409);
});

t.test("a successor takes the next change as its predecessor would have", async (t) => {
  const agent = await serving(t);
  const { worker } = await agent.haproxy();
  await agent.end("SIGKILL");
  await agent.start();
  const next = tenantSpec(agent, 8, { pools: [pool(1, [member(1, { weight: 5 }), member(2)])] });
  t.match(await agent.apply(next), { how: "runtime" });
  t.equal((await agent.haproxy()).worker, worker);
});

t.test("SIGTERM ends the agent with code 0, and HAProxy goes on", async (t) => {
  const agent = await serving(t);
  const before = await agent.haproxy();
  t.equal(await agent.end("SIGTERM"), 0);
  t.strictSame(await agent.haproxy(), before);
  t.equal((await get()).status, 200);
});

t.test("SIGTERM amid a change: it is brought to its end, and answered", async (t) => {
  const agent = await serving(t);
  const begun = eventually("the change has begun", async () => (await agent.configFile()).includes(":81"));
  const [code, answer] = await Promise.all([
    begun.then(() => agent.end("SIGTERM")),
    agent.apply(tenantSpec(agent, 8, ports(1))),
  ]);
  t.equal(code, 0);
  t.match(answer, { revision: 8, how: "reload" });
  t.equal((await get(VIP, 81)).status, 200);
});

for (const which of ["master", "worker"] as const) {
  t.test(`HAProxy's ${which} is killed: served again by itself`, async (t) => {
    const agent = await serving(t);
    const before = await agent.haproxy();
    process.kill(before[which] ?? 0, "SIGKILL");
    await eventually("the old one is gone", async () => (await agent.haproxy()).worker !== before.worker);
    await eventually("served again", () => serves(), 5000);
    t.match(await agent.apply(tenantSpec(agent, 7)), { how: "none" }, "with the same spec");
  });
}

t.test("HAProxy is killed amid a change: that is put off at most, and never held against the spec", async (t) => {
  const agent = await serving(t);
  for (let round = 1; round <= 12; round++) {
    const { master } = await agent.haproxy();
    const spec = tenantSpec(agent, 7 + round, ports(round));
    const killed = sleep(round * 8).then(() => signal(master, "SIGKILL"));
    const { status, text } = await agent.call("PUT", "/v1/spec", spec);
    t.ok(status === 200 || status === 503, `${status} ${text}`);
    await killed;
    const again = async () => (await agent.call("PUT", "/v1/spec", spec)).status === 200;
    await eventually("the change is taken", again);
    await eventually("the new listener serves", () => serves(VIP, 80 + round));
  }
});

t.test("HAProxy is killed while there is no agent: the next agent starts it", async (t) => {
  const agent = await serving(t);
  const { master } = await agent.haproxy();
  await agent.end("SIGKILL");
  process.kill(master, "SIGKILL");
  await eventually("nothing is served", async () => !(await serves()));
  await agent.start();
  await eventually("served again", () => serves());
});

t.test("HAProxy's master hangs: it is started again, and the one that hung does not come back", async (t) => {
  const agent = await serving(t);
  const { master } = await agent.haproxy();
  process.kill(master, "SIGSTOP");
  const another = async () => {
    const now = await showProcesses(agent.haproxySocket, 1000).catch(() => null);
    return now !== null && now.master !== master;
  };
  await eventually("another master", another, 30_000);
  await eventually("served again", () => serves());
  t.equal(await readFile(`/proc/${master}/cmdline`, "utf8").catch(() => ""), "", "the old one has ended");
});

t.test("an agent killed amid a reload: its successor leaves HAProxy alive", async (t) => {
  const agent = await serving(t);
  const { master } = await agent.haproxy();
  const open = await OpenConnection.open(t);
  for (const revision of [8, 9, 10]) {
    const reloading = agent.apply(tenantSpec(agent, revision, ports(revision))).catch(() => null);
    await eventually("a reload begins", async () => (await agent.configFile()).includes(`:${80 + revision}`));
    await agent.end("SIGKILL");
    await reloading;
    await agent.start();
    await agent.apply(tenantSpec(agent, revision, ports(revision)));
    t.equal((await agent.haproxy()).master, master);
    t.equal((await get(VIP, 80 + revision)).status, 200);
  }
  t.match(await open.ask(), /member \d/, "a connection from before goes on");
});

t.test("a file that somebody changed is put right when the agent comes back", async (t) => {
  const agent = await serving(t);
  const config = await agent.configFile();
  await agent.end("SIGKILL");
  await writeFile(join(agent.folder, "etc/haproxy/haproxy.cfg"), config.replace("roundrobin", "leastconn"));
  await agent.start();
  await eventually("the file is right", async () => (await agent.configFile()) === config);
  await eventually("the agent knows its spec again", async () => (await agent.health()).revision === 7);
  t.equal((await get()).status, 200);
});

t.test("an agent whose counters can't be read begins to count again", async (t) => {
  const agent = await serving(t);
  await agent.end("SIGKILL");
  await writeFile(join(agent.folder, "run/counters.json"), '{"ended":');
  await agent.start();
  await eventually("the agent knows its spec again", async () => (await agent.health()).revision === 7);
  t.match(agent.output, "the counters can't be read");
});

t.test("an agent whose last spec can't be read waits for the controller, and HAProxy serves on", async (t) => {
  const agent = await serving(t);
  const before = await agent.haproxy();
  await agent.end("SIGKILL");
  await writeFile(join(agent.folder, "state/spec.json"), '{"revision":');
  await agent.start();
  t.strictSame(await agent.haproxy(), before);
  t.match(await agent.apply(tenantSpec(agent, 7)), { revision: 7, how: "none" });
});

/** An agent that serves revision 7, with two members. */
async function serving(t: Test): Promise<TestAgent> {
  const agent = await startAgent(t);
  await plugTenant(t);
  await Member.start(t, 1);
  await Member.start(t, 2);
  await agent.apply(tenantSpec(agent, 7));
  return agent;
}

/** One more listener: on port 80 + number. */
function ports(number: number) {
  return { listeners: [listener(1), listener(number + 1)] };
}
