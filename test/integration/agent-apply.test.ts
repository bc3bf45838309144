/** A spec is brought about in the cheapest way there is, and one that is refused changes nothing. */
import t, { type Test } from "tap";
import { startAgent, type TestAgent } from "../support/agent.ts";
import { idOf, listener, member, pool } from "../support/specs.ts";
import { get, Member, plugTenant, tenantSpec, VIP, VIP6 } from "../support/tenant.ts";

const MIB = 1024 * 1024;

t.test("a spec serves traffic through its VIPs", async (t) => {
  const agent = await startAgent(t);
  await plugTenant(t);
  await Member.start(t, 1);
  await Member.start(t, 2, "fd77::22");
  const pools = [pool(1, [member(1), member(2, { address: "fd77::22" })])];
  const answer = await agent.apply(tenantSpec(agent, 1, { pools }));
  t.match(answer, { revision: 1, how: "restart" });
  for (const vip of [VIP, VIP6]) {
    const answers = [await get(vip), await get(vip)].map(({ text }) => text).sort();
    t.strictSame(answers, ["member 1", "member 2"], `round robin at ${vip}`);
  }
});

t.test("the same spec again changes nothing", async (t) => {
  const { agent } = await serving(t);
  const before = await state(agent);
  t.match(await agent.apply(tenantSpec(agent, 1)), { revision: 1, how: "none" });
  t.strictSame(await state(agent), before);
});

t.test("a newer revision that means the same is taken, and HAProxy left alone", async (t) => {
  const { agent } = await serving(t);
  const { worker } = await agent.haproxy();
  t.match(await agent.apply(tenantSpec(agent, 2)), { revision: 2, how: "none" });
  t.equal((await agent.haproxy()).worker, worker);
});

t.test("a weight, and whether a member takes part, reach the running worker", async (t) => {
  const { agent, members } = await serving(t);
  const { worker } = await agent.haproxy();
  const changes = [
    { change: { weight: 0 }, taking: [0, 4] },
    { change: { weight: 3 }, taking: [3, 1] },
    { change: { admin_state_up: false }, taking: [0, 4] },
    { change: {}, taking: [2, 2] },
  ];
  for (const [i, { change, taking }] of changes.entries()) {
    const pools = [pool(1, [member(1, change), member(2)])];
    t.match(await agent.apply(tenantSpec(agent, 2 + i, { pools })), { how: "runtime" }, JSON.stringify(change));
    const before = members.map(({ requests }) => requests);
    for (let n = 0; n < 4; n++) await get();
    t.strictSame(
      members.map(({ requests }, j) => requests - (before[j] ?? 0)),
      taking,
      JSON.stringify(change),
    );
  }
  t.equal((await agent.haproxy()).worker, worker, "the worker is the same");
});

t.test("what was changed at run time is in the file as well", async (t) => {
  const { agent } = await serving(t);
  await agent.apply(tenantSpec(agent, 2, { pools: [pool(1, [member(1, { weight: 7 }), member(2)])] }));
  t.match(await agent.configFile(), `server ${idOf("member", 1)} 10.77.0.21:8080 weight 7`);
});

t.test("any other change is taken by a new worker, while the old one serves", async (t) => {
  const { agent } = await serving(t);
  const { master, worker } = await agent.haproxy();
  const next = tenantSpec(agent, 2, { listeners: [listener(1), listener(2)] });
  t.match(await agent.apply(next), { revision: 2, how: "reload" });
  const now = await agent.haproxy();
  t.equal(now.master, master);
  t.not(now.worker, worker);
  t.equal((await get(VIP, 81)).status, 200);
});

t.test("a load balancer is disabled and enabled again", async (t) => {
  const { agent } = await serving(t);
  await agent.apply(tenantSpec(agent, 2, { admin_state_up: false }));
  await t.rejects(get(), { code: "ECONNREFUSED" });
  await agent.apply(tenantSpec(agent, 3));
  t.equal((await get()).status, 200);
});

t.test("specs sent at once are applied one after the other, and the newest stays", async (t) => {
  const { agent } = await serving(t);
  const revisions = [2, 3, 4, 5, 6];
  const answers = await Promise.all(
    revisions.map((revision) => agent.call("PUT", "/v1/spec", tenantSpec(agent, revision, ports(revision)))),
  );
  for (const { status } of answers) t.ok([200, 409].includes(status), `${status}`);
  t.equal((await agent.health()).revision, 6);
  t.equal((await get(VIP, 80 + 6)).status, 200);
});

t.test("what is refused changes nothing", async (t) => {
  const { agent } = await serving(t, 5);
  const before = await state(agent);
  const other = tenantSpec(agent, 6, { amphora_id: idOf("amphora") });
  const invalid = tenantSpec(agent, 6, { listeners: [listener(1, { default_pool_id: idOf("pool", 9) })] });
  const refusals: [what: string, document: unknown, status: number, path: string[], message: RegExp][] = [
    ["an older revision", tenantSpec(agent, 4), 409, [], /revision 4 is older than 5/],
    ["this revision with other content", tenantSpec(agent, 5, ports(1)), 409, [], /revision 5 runs already/],
    ["another amphora's", other, 422, ["amphora_id"], new RegExp(agent.id)],
    ["an invalid one", invalid, 422, ["listeners[0].default_pool_id"], /there is no pool/],
    ["none", {}, 422, ["revision", "amphora_id", "loadbalancer_id", "role", "vips"], /revision/],
    ["garbage", Buffer.from("revision: 6"), 400, [], /no JSON/],
    ["no UTF-8", Buffer.from([0x22, 0xff, 0x22]), 400, [], /no JSON/],
    ["nothing", Buffer.alloc(0), 400, [], /no JSON/],
    ["32 MiB and a byte", Buffer.alloc(32 * MIB + 1, " "), 413, [], /larger than 33554432 bytes/],
    ["far more than that", Buffer.alloc(100 * MIB, " "), 413, [], /larger than 33554432 bytes/],
  ];
  for (const [what, document, status, paths, message] of refusals) {
    const refusal = await agent.refused(document);
    t.equal(refusal.status, status, what);
    t.match(refusal.message, message, what);
    t.strictSame(
      refusal.problems.map(({ path }) => path),
      paths,
      what,
    );
    t.strictSame(await state(agent), before, `${what} changes nothing`);
  }
});

/** An agent with two members, serving revision 1 unless said otherwise. */
async function serving(t: Test, revision = 1): Promise<{ agent: TestAgent; members: Member[] }> {
  const agent = await startAgent(t);
  await plugTenant(t);
  const members = [await Member.start(t, 1), await Member.start(t, 2)];
  await agent.apply(tenantSpec(agent, revision));
  return { agent, members };
}

/** One more listener: on port 80 + number. */
function ports(number: number) {
  return { listeners: [listener(1), listener(number + 1)] };
}

/** All that a refused spec could have changed. */
async function state(agent: TestAgent) {
  const { master, worker, reloads } = await agent.haproxy();
  return {
    processes: { master, worker, reloads },
    config: await agent.configFile(),
    spec: (await agent.call("GET", "/v1/spec")).text,
    serves: (await get()).status,
  };
}
