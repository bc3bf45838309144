/** Old workers go on with their connections after a reload, but not for ever. */
import t from "tap";
import { eventually, startAgent } from "../support/agent.ts";
import { Conversation, startEcho } from "../support/raw.ts";
import { listener, member, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec } from "../support/tenant.ts";

const LIMIT = 6;

t.test("an old worker ends after hard_stop_after_s, with the connections that are left", async (t) => {
  const agent = await startAgent(t, { hard_stop_after_s: LIMIT });
  await plugTenant(t);
  await startEcho(t, "echo", "10.77.0.21");
  const apply = (revision: number) =>
    agent.apply(
      tenantSpec(agent, revision, {
        listeners: [listener(1, { protocol: "TCP" }), listener(2, { protocol: "TCP", protocol_port: 80 + revision })],
        pools: [pool(1, [member(1)], { protocol: "TCP" })],
      }),
    );
  await apply(1);
  const old = await Conversation.open(t, 80);
  await old.hears("echo ");
  const reloaded = Date.now();
  t.equal((await apply(2)).how, "reload");
  const recent = await Conversation.open(t, 80);
  await recent.hears("echo ");
  t.equal(await old.say("still here"), "still here");
  t.equal((await agent.haproxy()).oldWorkers.length, 1);
  await eventually("the old worker has ended", async () => (await agent.haproxy()).oldWorkers.length === 0);
  t.ok(Date.now() - reloaded >= LIMIT * 1000 - 100, "not before its time");
  await eventually("its connection is closed", async () => old.ended !== null);
  t.equal(await recent.say("still here"), "still here", "that of the next worker goes on");
});
