/** A change reaches HAProxy the cheapest way that brings it about: nothing, a few commands, or a reload. */
import fc from "fast-check";
import t from "tap";
import { planHaproxy } from "../../agent/plan.ts";
import { backendsOf, renderHaproxy } from "../../templates/haproxy.ts";
import { INSTANCE_LAYOUT } from "../../templates/layout.ts";
import type { AmphoraSpec, AmphoraSpecInput } from "../../templates/spec.ts";
import { arbitrarySpec, withOtherMembers } from "../support/arbitrary.ts";
import { idOf, listener, member, monitor, pool, spec } from "../support/specs.ts";

const BACKEND = `${idOf("pool")}:5000:50000`;
const SERVER = `${BACKEND}/${idOf("member", 1)}`;

t.test("what HAProxy does not see needs nothing", async (t) => {
  const same: Record<string, Partial<AmphoraSpecInput>> = {
    "a new revision": { revision: 2 },
    "an interface": { interfaces: [{ name: "eth1", mac: "fa:16:3e:00:00:01", addresses: [] }] },
    "a pool that no listener uses": { pools: [...spec().pools, pool(2, [member(3)])] },
    "a disabled listener": { listeners: [listener(1), listener(2, { admin_state_up: false })] },
  };
  for (const [what, changes] of Object.entries(same)) {
    t.strictSame(planHaproxy(spec(), spec(changes)), { how: "none" }, what);
  }
});

t.test("a weight is told to the running worker", async (t) => {
  const next = spec({ pools: [pool(1, [member(1, { weight: 7 }), member(2)])] });
  t.strictSame(planHaproxy(spec(), next), { how: "runtime", commands: [`set server ${SERVER} weight 7`] });
});

t.test("weight 0 drains a member without a reload", async (t) => {
  const next = spec({ pools: [pool(1, [member(1, { weight: 0 }), member(2)])] });
  t.strictSame(planHaproxy(spec(), next), { how: "runtime", commands: [`set server ${SERVER} weight 0`] });
});

t.test("a member is disabled and enabled without a reload", async (t) => {
  const without = spec({ pools: [pool(1, [member(1, { admin_state_up: false }), member(2)])] });
  t.strictSame(planHaproxy(spec(), without), { how: "runtime", commands: [`set server ${SERVER} state maint`] });
  t.strictSame(planHaproxy(without, spec()), { how: "runtime", commands: [`set server ${SERVER} state ready`] });
});

t.test("a shared pool's member is changed in each of its backends", async (t) => {
  const listeners = [listener(1), listener(2), listener(3, { timeout_member_data: 600_000 })];
  const pools = [pool(1, [member(1, { weight: 7 }), member(2)])];
  t.strictSame(planHaproxy(spec({ listeners }), spec({ listeners, pools })), {
    how: "runtime",
    commands: [`set server ${SERVER} weight 7`, `set server ${idOf("pool")}:5000:600000/${idOf("member", 1)} weight 7`],
  });
});

t.test("everything else takes a reload", async (t) => {
  const other: Record<string, Partial<AmphoraSpecInput>> = {
    "a VIP": { vips: ["10.77.0.6"] },
    "another VIP": { vips: ["10.77.0.5", "fd77::5"] },
    "the load balancer disabled": { admin_state_up: false },
    "a new listener": { listeners: [listener(1), listener(2)] },
    "no listener": { listeners: [] },
    "a listener disabled": { listeners: [listener(1, { admin_state_up: false })] },
    "a port": { listeners: [listener(1, { protocol_port: 81 })] },
    "a connection limit": { listeners: [listener(1, { connection_limit: 5 })] },
    "a time-out of clients": { listeners: [listener(1, { timeout_client_data: 1 })] },
    "a time-out of members": { listeners: [listener(1, { timeout_member_connect: 1 })] },
    "no pool": { listeners: [listener(1, { default_pool_id: null })] },
    "a pool disabled": { pools: [pool(1, [member(1), member(2)], { admin_state_up: false })] },
    "an algorithm": { pools: [pool(1, [member(1), member(2)], { lb_algorithm: "SOURCE_IP" })] },
    "a new member": { pools: [pool(1, [member(1), member(2), member(3)])] },
    "one member less": { pools: [pool(1, [member(1)])] },
    "a new member, and a weight": { pools: [pool(1, [member(1, { weight: 7 }), member(2), member(3)])] },
    "a member's address": { pools: [pool(1, [member(1, { address: "10.77.0.99" }), member(2)])] },
    "a member's port": { pools: [pool(1, [member(1, { protocol_port: 81 }), member(2)])] },
    "a backup": { pools: [pool(1, [member(1, { backup: true }), member(2)])] },
    "a monitor": { pools: [pool(1, [member(1), member(2)], { health_monitor: monitor() })] },
  };
  for (const [what, changes] of Object.entries(other)) {
    t.strictSame(planHaproxy(spec(), spec(changes)), { how: "reload" }, what);
  }
});

t.test("the commands bring about exactly what the next configuration says", async () => {
  const change = arbitrarySpec.chain((before) => fc.tuple(fc.constant(before), withOtherMembers(before)));
  fc.assert(
    fc.property(change, ([before, after]) => {
      const plan = planHaproxy(before, after);
      const servers = serversOf(before);
      if (plan.how === "reload") return false;
      if (plan.how === "runtime") for (const command of plan.commands) carryOut(command, servers);
      return JSON.stringify([...servers]) === JSON.stringify([...serversOf(after)]);
    }),
  );
});

t.test("nothing is done only where the configuration stays the same", async () => {
  fc.assert(
    fc.property(arbitrarySpec, arbitrarySpec, (before, after) => {
      const same = renderHaproxy(before, INSTANCE_LAYOUT) === renderHaproxy(after, INSTANCE_LAYOUT);
      return same === (planHaproxy(before, after).how === "none") && planHaproxy(before, before).how === "none";
    }),
  );
});

interface Server {
  weight: number;
  state: string;
}

/** What a worker that has just read the configuration knows of its servers. */
function serversOf(spec: AmphoraSpec): Map<string, Server> {
  const servers = new Map<string, Server>();
  for (const [backend, { pool }] of backendsOf(spec)) {
    for (const { id, weight, admin_state_up } of pool.members) {
      servers.set(`${backend}/${id}`, { weight, state: admin_state_up ? "ready" : "maint" });
    }
  }
  return servers;
}

/** `set server`, as HAProxy carries it out. */
function carryOut(command: string, servers: Map<string, Server>): void {
  const [, name = "", field, value = ""] = /^set server (\S+) (weight|state) (\S+)$/.exec(command) ?? [];
  const server = servers.get(name);
  if (server === undefined) throw new Error(`there is no server for: ${command}`);
  if (field === "weight") server.weight = Number(value);
  else server.state = value;
}
