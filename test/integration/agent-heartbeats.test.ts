/** Heartbeats tell the controllers that an amphora lives, what it runs, and that something has changed. */
import { randomBytes } from "node:crypto";
import t from "tap";
import { HEARTBEAT_MAX_BYTES, openHeartbeat } from "../../agent/protocol.ts";
import { digestOf } from "../../agent/report.ts";
import { eventually, startAgent } from "../support/agent.ts";
import { HeartbeatSocket } from "../support/heartbeats.ts";
import { idOf, listener, member, monitor, pool } from "../support/specs.ts";
import { get, Member, plugTenant, tenantSpec } from "../support/tenant.ts";

const PORT = 5555;
const OFTEN = { heartbeat_interval_ms: 100 };
/** Nothing but a change makes one come within a test. */
const SELDOM = { heartbeat_interval_ms: 60_000 };

t.test("they come from the first moment, at their interval, each newer than the one before", async (t) => {
  const socket = await HeartbeatSocket.open(t, PORT);
  const agent = await startAgent(t, OFTEN);
  await eventually("ten heartbeats", async () => socket.datagrams.length >= 10, 3000);
  const heartbeats = socket.heartbeats(agent);
  for (const [i, { amphoraId, sequence, time, body }] of heartbeats.entries()) {
    t.equal(amphoraId, agent.id);
    t.equal(body.revision, 0, "no spec yet");
    const before = heartbeats[i - 1];
    if (before === undefined) continue;
    t.ok(sequence > before.sequence, "sequence grows");
    t.ok(time - before.time >= 80, `${time - before.time} ms after the one before`);
  }
  t.ok(Math.abs(Date.now() - (heartbeats.at(-1)?.time ?? 0)) < 1000, "the time is the time");
});

t.test("the key of another amphora does not open them", async (t) => {
  const socket = await HeartbeatSocket.open(t, PORT);
  const agent = await startAgent(t, OFTEN);
  await socket.next(agent);
  for (const datagram of socket.datagrams) t.equal(openHeartbeat(datagram, randomBytes(32)), null);
});

t.test("they go to the controllers in turn", async (t) => {
  const sockets = [await HeartbeatSocket.open(t, PORT), await HeartbeatSocket.open(t, PORT + 1)];
  const controllers = sockets.map((_, i) => ({ address: "127.0.0.1", port: PORT + i }));
  const agent = await startAgent(t, { ...OFTEN, controllers });
  await eventually("five each", async () => sockets.every(({ datagrams }) => datagrams.length >= 5));
  const [first = [], second = []] = sockets.map((socket) => socket.heartbeats(agent).map(({ sequence }) => sequence));
  t.strictSame(
    second.slice(0, 4),
    first.slice(0, 4).map((sequence) => sequence + 1n),
  );
});

t.test("a controller says where they go, and how often, from then on and after a restart", async (t) => {
  const [first, second] = [await HeartbeatSocket.open(t, PORT), await HeartbeatSocket.open(t, PORT + 1)];
  const agent = await startAgent(t, OFTEN);
  await first.next(agent);
  const elsewhere = { controllers: [{ address: "127.0.0.1", port: PORT + 1 }], heartbeat_interval_ms: 200 };
  t.equal((await agent.call("PUT", "/v1/reporting", elsewhere)).status, 200);
  await second.next(agent);
  const before = first.datagrams.length;
  await agent.end("SIGKILL");
  await agent.start();
  for (let n = 0; n < 3; n++) await second.next(agent);
  t.equal(first.datagrams.length, before, "none goes where they went before");
});

t.test("where they can't go is refused, and changes nothing", async (t) => {
  const socket = await HeartbeatSocket.open(t, PORT);
  const agent = await startAgent(t, OFTEN);
  const wrong: [unknown, RegExp][] = [
    [{ controllers: [] }, /controllers: .*>=1/],
    [{ controllers: [{ address: "localhost" }] }, /controllers\.0\.address/],
    [{ controllers: [{ address: "::1" }] }, /controllers\.0\.address: ::1 can't be reached from 127\./],
    [{ controllers: [{ address: "127.0.0.1" }], heartbeat_interval_ms: 1 }, /heartbeat_interval_ms/],
    [{ controllers: [{ address: "127.0.0.1" }], more: 1 }, /more/],
  ];
  for (const [body, message] of wrong) {
    const { status, text } = await agent.call("PUT", "/v1/reporting", body);
    t.equal(status, 422, text);
    t.match(text, message);
  }
  await socket.next(agent);
});

t.test("a restarted agent goes on with newer ones", async (t) => {
  const socket = await HeartbeatSocket.open(t, PORT);
  const agent = await startAgent(t, OFTEN);
  const before = await socket.next(agent);
  await agent.end("SIGKILL");
  const last = socket.heartbeats(agent).at(-1) ?? before;
  await agent.start();
  t.ok((await socket.next(agent)).sequence > last.sequence);
});

t.test("they carry what runs: revision, digest of the health report, counters", async (t) => {
  const socket = await HeartbeatSocket.open(t, PORT);
  const agent = await startAgent(t, OFTEN);
  await plugTenant(t);
  await Member.start(t, 1);
  await agent.apply(tenantSpec(agent, 7));
  for (let n = 0; n < 3; n++) await get();
  const { total_connections, bytes_in, bytes_out } = await eventually("the requests have ended", async () => {
    const counters = (await agent.stats()).listeners[idOf("listener")];
    return counters?.total_connections === 3 && counters.active_connections === 0 && counters;
  });
  const counted = await socket.next(agent, ({ body }) => body.stats?.[0]?.[1] === 0 && body.stats[0][4] === bytes_out);
  t.equal(counted.body.revision, 7);
  t.strictSame(counted.body.stats, [[idOf("listener"), 0, total_connections, bytes_in, bytes_out, 0]]);
  t.equal(counted.body.digest, digestOf(await agent.health()));
});

t.test("one comes at once, to every controller, when the health of something changes", async (t) => {
  const socket = await HeartbeatSocket.open(t, PORT);
  const agent = await startAgent(t, SELDOM);
  await plugTenant(t);
  const one = await Member.start(t, 1);
  await Member.start(t, 2);
  const pools = [pool(1, [member(1), member(2)], { health_monitor: monitor() })];
  const applied = socket.next(agent);
  await agent.apply(tenantSpec(agent, 1, { pools }));
  let { digest } = (await applied).body;
  for (const healthy of [false, true]) {
    const state = healthy ? "UP" : "DOWN";
    one.healthy = healthy;
    const told = await socket.next(agent, ({ body }) => body.digest !== digest, 5000);
    const health = await agent.health();
    t.equal(health.pools[idOf("pool")]?.[idOf("member")], state);
    t.equal(told.body.digest, digestOf(health));
    digest = told.body.digest;
  }
});

t.test("with a hundred listeners one still fits a datagram, without the counters", async (t) => {
  const socket = await HeartbeatSocket.open(t, PORT);
  const agent = await startAgent(t, SELDOM);
  await plugTenant(t);
  const listeners = Array.from({ length: 100 }, (_, i) => listener(i + 1));
  const applied = socket.next(agent, ({ body }) => body.revision === 1);
  await agent.apply(tenantSpec(agent, 1, { listeners }));
  t.equal((await applied).body.stats, undefined);
  for (const { length } of socket.datagrams) t.ok(length <= HEARTBEAT_MAX_BYTES);
});

t.test("a controller that is not there changes nothing", async (t) => {
  const agent = await startAgent(t, OFTEN);
  await plugTenant(t);
  await Member.start(t, 1);
  await agent.apply(tenantSpec(agent, 1));
  t.equal((await get()).status, 200);
  const socket = await HeartbeatSocket.open(t, PORT);
  t.equal((await socket.next(agent)).body.revision, 1, "it hears them once it is");
});
