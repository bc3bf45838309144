/** The health report tells of each listener and member what HAProxy finds, soon after it does. */
import t, { type Test } from "tap";
import { eventually, startAgent, type TestAgent } from "../support/agent.ts";
import { idOf, listener, member, monitor, pool } from "../support/specs.ts";
import { get, Member, OpenConnection, plugTenant, tenantSpec } from "../support/tenant.ts";

t.test("a member that fails its checks is down and gets no requests, until it is up again", async (t) => {
  const { agent, members } = await serving(t);
  const [one] = members;
  if (one === undefined) throw new Error("there is no member");
  await become(agent, { 1: "UP", 2: "UP" });
  one.healthy = false;
  await become(agent, { 1: "DOWN", 2: "UP" });
  const before = one.requests;
  for (let n = 0; n < 4; n++) t.equal((await get()).text, "member 2");
  t.equal(one.requests, before);
  one.healthy = true;
  await become(agent, { 1: "UP", 2: "UP" });
});

t.test("a member that is not there is down", async (t) => {
  const { agent, members } = await serving(t);
  await members[1]?.stop();
  await become(agent, { 1: "UP", 2: "DOWN" });
});

t.test("drained, disabled, unchecked: each is told apart", async (t) => {
  const { agent } = await serving(t);
  const changed = [member(1, { weight: 0 }), member(2, { admin_state_up: false })];
  await agent.apply(tenantSpec(agent, 2, { pools: [pool(1, changed, { health_monitor: monitor() })] }));
  await become(agent, { 1: "DRAIN", 2: "MAINT" });
  await agent.apply(tenantSpec(agent, 3, { pools: [pool(1, [member(1), member(2)])] }));
  await become(agent, { 1: "NO_CHECK", 2: "NO_CHECK" });
});

t.test("a down member stays down over a reload, with no request sent to find out", async (t) => {
  const { agent, members } = await serving(t);
  const [one] = members;
  if (one === undefined) throw new Error("there is no member");
  one.healthy = false;
  await become(agent, { 1: "DOWN", 2: "UP" });
  const before = one.requests;
  // with other time-outs the pool gets a backend of another name
  const listeners = [listener(1, { timeout_member_data: 60_000 }), listener(2)];
  const pools = [pool(1, [member(1), member(2)], { health_monitor: monitor({ delay: 60 }) })];
  t.equal((await agent.apply(tenantSpec(agent, 2, { listeners, pools }))).how, "reload");
  t.strictSame(await states(agent), { 1: "DOWN", 2: "UP" });
  for (const port of [80, 80, 81, 81]) t.equal((await get(undefined, port)).text, "member 2");
  t.equal(one.requests, before);
});

t.test("a reload is no outage in the report", async (t) => {
  const { agent } = await serving(t);
  let going = true;
  const seen = new Set<string>();
  const watching = (async () => {
    while (going) {
      // the agent looks at the data plane for every answer to this
      await agent.stats();
      for (const state of Object.values((await agent.health()).listeners)) seen.add(state);
    }
  })();
  for (let revision = 2; revision < 12; revision++) {
    const listeners = [listener(1), listener(revision)];
    t.equal((await agent.apply(tenantSpec(agent, revision, { listeners }))).how, "reload");
  }
  going = false;
  await watching;
  t.strictSame([...seen], ["OPEN"]);
});

t.test("a listener with all its connections in use is full", async (t) => {
  const { agent } = await serving(t);
  await agent.apply(tenantSpec(agent, 2, { listeners: [listener(1, { connection_limit: 1 })] }));
  const state = async () => (await agent.health()).listeners[idOf("listener")];
  await eventually("it is open", async () => (await state()) === "OPEN");
  const open = await OpenConnection.open(t);
  await open.ask();
  await eventually("it is full", async () => (await state()) === "FULL");
  open.close();
  await eventually("it is open again", async () => (await state()) === "OPEN");
});

t.test("nothing listens for a disabled load balancer, and nothing is reported", async (t) => {
  const { agent } = await serving(t);
  await agent.apply(tenantSpec(agent, 2, { admin_state_up: false }));
  t.strictSame(await agent.health(), { revision: 2, listeners: {}, pools: {} });
});

t.test("a check over HTTP/1.1 names a host, even when the monitor has no name for it", async (t) => {
  // these members refuse a request without (RFC 9112, 3.2)
  const { agent, members } = await serving(t, { http_version: 1.1 });
  const checks = () => Promise.resolve(members.every(({ checks }) => checks >= 2));
  await eventually("each is checked twice", checks);
  await become(agent, { 1: "UP", 2: "UP" });
});

/** An agent with two members, checked every second. */
async function serving(t: Test, changes: Parameters<typeof monitor>[0] = {}) {
  const agent = await startAgent(t);
  await plugTenant(t);
  const members = [await Member.start(t, 1), await Member.start(t, 2)];
  const pools = [pool(1, [member(1), member(2)], { health_monitor: monitor(changes) })];
  await agent.apply(tenantSpec(agent, 1, { pools }));
  return { agent, members };
}

/** member's number -> its state */
async function states(agent: TestAgent): Promise<Record<string, string>> {
  const found = (await agent.health()).pools[idOf("pool")] ?? {};
  return Object.fromEntries([1, 2].map((number) => [number, found[idOf("member", number)] ?? ""]));
}

async function become(agent: TestAgent, wanted: Record<string, string>): Promise<void> {
  const text = JSON.stringify(wanted);
  await eventually(`members are ${text}`, async () => JSON.stringify(await states(agent)) === text);
}
