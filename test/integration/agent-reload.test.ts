/** After a reload HAProxy is what the spec says: nothing that was told to the old worker lingers in the new one. */
import t, { type Test } from "tap";
import { ask } from "../../agent/dataplane/haproxy-socket.ts";
import { eventually, startAgent, type TestAgent } from "../support/agent.ts";
import { idOf, listener, type MemberInput, member, monitor, pool } from "../support/specs.ts";
import { get, Member, OpenConnection, plugTenant, tenantSpec } from "../support/tenant.ts";

const BACKEND = `${idOf("pool")}:http:5000:50000`;

t.test("a weight that was changed at run time and back again is back", async (t) => {
  const agent = await serving(t);
  t.equal(await apply(agent, 2, [member(1, { weight: 9 }), member(2)]), "runtime");
  t.equal((await server(agent, 1)).weight, "9");
  t.equal(await apply(agent, 3, [member(1), member(2)], 82), "reload");
  t.equal((await server(agent, 1)).weight, "1");
});

t.test("a member at another port is reached there", async (t) => {
  const agent = await serving(t);
  await Member.start(t, 3, "10.77.0.21", 8081);
  t.equal(await apply(agent, 2, [member(1, { protocol_port: 8081 }), member(2)], 82), "reload");
  const answers = [await get(), await get()].map(({ text }) => text).sort();
  t.strictSame(answers, ["member 2", "member 3"]);
});

t.test("a member is checked where the spec says, and at its own address again", async (t) => {
  const agent = await serving(t);
  const [first, other] = [await Member.start(t, 3), await Member.start(t, 4)];
  const checked = async (one: Member) => {
    const before = one.checks;
    await eventually("a check", async () => one.checks > before);
    return true;
  };
  const elsewhere = { monitor_address: other.address, monitor_port: 8080 };
  await apply(agent, 2, [member(3, elsewhere)]);
  t.ok(await checked(other));
  t.equal(first.checks, 0);
  await apply(agent, 3, [member(3)]);
  t.ok(await checked(first));
});

t.test("a member that was disabled at run time is enabled by a reload, ready to serve", async (t) => {
  const agent = await serving(t);
  t.equal(await apply(agent, 2, [member(1, { admin_state_up: false }), member(2)]), "runtime");
  t.equal(await apply(agent, 3, [member(1), member(2)], 82), "reload");
  t.equal((await server(agent, 1)).status, "UP");
});

t.test("a member that was enabled at run time is disabled by a reload", async (t) => {
  const agent = await serving(t, [member(1, { admin_state_up: false }), member(2)]);
  t.equal(await apply(agent, 2, [member(1), member(2)]), "runtime");
  t.equal(await apply(agent, 3, [member(1, { admin_state_up: false }), member(2)], 82), "reload");
  t.equal((await server(agent, 1)).status, "MAINT");
});

t.test("a change that the running worker refuses is brought about by a reload", async (t) => {
  const agent = await serving(t);
  const gone = `${BACKEND}/${idOf("member", 1)}`;
  await ask(agent.haproxySocket, `@1 set server ${gone} state maint; @1 del server ${gone}`);
  t.equal(await apply(agent, 2, [member(1, { weight: 9 }), member(2)]), "reload");
  t.equal((await server(agent, 1)).weight, "9");
});

t.test("a connection that is open is served on by the old worker, to its end", async (t) => {
  const agent = await serving(t);
  const open = await OpenConnection.open(t);
  t.match(await open.ask(), /member \d/);
  t.equal(await apply(agent, 2, [member(2)], 82), "reload");
  t.equal((await agent.haproxy()).oldWorkers.length, 1);
  t.match(await open.ask(), /member \d/);
  open.close();
  await eventually("the old worker ends", async () => (await agent.haproxy()).oldWorkers.length === 0);
});

/** An agent with members 1 and 2, checked every second. */
async function serving(t: Test, members: MemberInput[] = [member(1), member(2)]): Promise<TestAgent> {
  const agent = await startAgent(t);
  await plugTenant(t);
  await Member.start(t, 1);
  await Member.start(t, 2);
  await apply(agent, 1, members);
  return agent;
}

/** @param port of a second listener: another one takes a reload @returns how it was applied */
async function apply(agent: TestAgent, revision: number, members: MemberInput[], port = 81): Promise<string> {
  const listeners = [listener(1), listener(2, { protocol_port: port })];
  const pools = [pool(1, members, { health_monitor: monitor() })];
  return (await agent.apply(tenantSpec(agent, revision, { listeners, pools }))).how;
}

/** What the serving worker says of a member. */
async function server(agent: TestAgent, number: number): Promise<{ status: string; weight: string }> {
  const rows = (await ask(agent.haproxySocket, "@1 show stat -1 4 -1")).split("\n").map((line) => line.split(","));
  const row = rows.find(([backend, name]) => backend === BACKEND && name === idOf("member", number)) ?? [];
  return { status: row[17] ?? "", weight: row[18] ?? "" };
}
