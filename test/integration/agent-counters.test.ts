/** Counters are totals since the amphora was made: they never fall, whatever is reloaded, killed or started again. */
import t, { type Test } from "tap";
import type { Counters } from "../../agent/protocol.ts";
import { eventually, startAgent, type TestAgent } from "../support/agent.ts";
import { idOf, listener, member, pool } from "../support/specs.ts";
import { get, Member, OpenConnection, plugTenant, serves, tenantSpec } from "../support/tenant.ts";

t.test("each connection and its bytes are counted for its listener", async (t) => {
  const agent = await serving(t);
  for (let n = 0; n < 5; n++) await get();
  const counters = await countersOf(agent);
  t.match(counters, { active_connections: 0, total_connections: 5, request_errors: 0 });
  t.ok(counters.bytes_in > 0 && counters.bytes_out > counters.bytes_in);
  t.match(await countersOf(agent, 2), { total_connections: 0, bytes_in: 0, bytes_out: 0 });
});

t.test("open connections are counted, those of old workers too", async (t) => {
  const agent = await serving(t);
  const connections = [await OpenConnection.open(t), await OpenConnection.open(t)];
  for (const each of connections) await each.ask();
  t.equal((await countersOf(agent)).active_connections, 2);
  await reload(agent, 2);
  connections.push(await OpenConnection.open(t));
  await connections[2]?.ask();
  t.equal((await agent.haproxy()).oldWorkers.length, 1);
  t.match(await countersOf(agent), { active_connections: 3, total_connections: 3 });
});

t.test("what goes over an old worker is counted as long as it lives, and stays when it ends", async (t) => {
  const agent = await serving(t);
  const open = await OpenConnection.open(t);
  await open.ask();
  await reload(agent, 2);
  const before = await countersOf(agent);
  await open.ask();
  const more = await eventually("the old worker counts", async () => {
    const now = await countersOf(agent);
    return now.bytes_in > before.bytes_in && now.bytes_out > before.bytes_out && now;
  });
  open.close();
  await eventually("the old worker ends", async () => (await agent.haproxy()).oldWorkers.length === 0);
  t.strictSame(await countersOf(agent), { ...more, active_connections: 0 });
});

t.test("no counter falls over a reload", async (t) => {
  const agent = await serving(t);
  let last = await countersOf(agent);
  let going = true;
  const watching = (async () => {
    while (going) last = notFallen(t, last, await countersOf(agent));
  })();
  for (const revision of [2, 3, 4, 5, 6]) {
    for (let n = 0; n < 5; n++) await get();
    await reload(agent, revision);
  }
  going = false;
  await watching;
  t.equal((await countersOf(agent)).total_connections, 25);
});

t.test("no counter falls when the agent is killed, and traffic without an agent is counted", async (t) => {
  const agent = await serving(t);
  for (let n = 0; n < 5; n++) await get();
  const before = await countersOf(agent);
  await agent.end("SIGKILL");
  for (let n = 0; n < 5; n++) await get();
  await agent.start();
  await eventually("the agent knows its spec again", async () => (await agent.health()).revision === 1);
  notFallen(t, before, await countersOf(agent));
  t.equal((await countersOf(agent)).total_connections, 10);
});

t.test("no counter falls when HAProxy is killed", async (t) => {
  const agent = await serving(t);
  for (let n = 0; n < 5; n++) await get();
  const before = await countersOf(agent);
  t.equal(before.total_connections, 5);
  const { master } = await agent.haproxy();
  process.kill(master, "SIGKILL");
  await eventually("served again", async () => (await agent.haproxy()).master !== master && (await serves()));
  notFallen(t, before, await countersOf(agent));
  t.equal((await countersOf(agent)).total_connections, 6);
});

t.test("a disabled listener keeps its totals; one that is removed leaves none", async (t) => {
  const agent = await serving(t);
  await get();
  await agent.apply(spec(agent, 2, [listener(1, { ...TCP, admin_state_up: false }), listener(2, TCP)]));
  t.equal((await countersOf(agent)).total_connections, 1);
  await agent.apply(spec(agent, 3, [listener(2, TCP)]));
  t.strictSame(Object.keys((await agent.stats()).listeners), [idOf("listener", 2)]);
});

const TCP = { protocol: "TCP" } as const;

/** Plain TCP, so that a connection outlives a reload however long it is used. */
function spec(agent: TestAgent, revision: number, listeners = [listener(1, TCP), listener(2, TCP)]) {
  return tenantSpec(agent, revision, { listeners, pools: [pool(1, [member(1), member(2)], TCP)] });
}

async function serving(t: Test): Promise<TestAgent> {
  const agent = await startAgent(t);
  await plugTenant(t);
  await Member.start(t, 1);
  await Member.start(t, 2);
  await agent.apply(spec(agent, 1));
  return agent;
}

async function reload(agent: TestAgent, revision: number): Promise<void> {
  const listeners = [listener(1, TCP), listener(2, { ...TCP, protocol_port: 80 + revision })];
  const { how } = await agent.apply(spec(agent, revision, listeners));
  if (how !== "reload") throw new Error(`revision ${revision}: ${how}`);
}

async function countersOf(agent: TestAgent, number = 1): Promise<Counters> {
  const counters = (await agent.stats()).listeners[idOf("listener", number)];
  if (counters === undefined) throw new Error(`there are no counters of listener ${number}`);
  return counters;
}

/** Tells which counters are lower than before. @returns what is now */
function notFallen(t: Test, before: Counters, now: Counters): Counters {
  for (const field of ["total_connections", "bytes_in", "bytes_out", "request_errors"] as const) {
    if (now[field] < before[field]) t.fail(`${field} fell from ${before[field]} to ${now[field]}`);
  }
  return now;
}
