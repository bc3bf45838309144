/** A change reaches HAProxy the cheapest way that brings it about: nothing, a few commands, or a reload. */
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import t from "tap";
import { type HaproxyPlan, planHaproxy, type RuntimeChange } from "../../agent/plan.ts";
import { haproxyView, renderHaproxy } from "../../templates/haproxy.ts";
import { INSTANCE_LAYOUT } from "../../templates/layout.ts";
import type { AmphoraSpec, AmphoraSpecInput } from "../../templates/spec.ts";
import { arbitrarySpec, withOtherMembers } from "../support/arbitrary.ts";
import { idOf, listener, member, monitor, pool, spec } from "../support/specs.ts";

const BACKEND = `${idOf("pool")}:http:5000:50000`;

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

t.test("members that have changed places need nothing", async (t) => {
  t.strictSame(planHaproxy(spec(), spec({ pools: [pool(1, [member(2), member(1)])] })), { how: "none" });
});

t.test("a weight is told to the running worker", async (t) => {
  for (const weight of [7, 0]) {
    const next = spec({ pools: [pool(1, [member(1, { weight }), member(2)])] });
    t.match(planHaproxy(spec(), next), { how: "runtime", changes: [{ ...change("weight"), server: { weight } }] });
  }
});

t.test("a member is disabled and enabled without a reload", async (t) => {
  const without = spec({ pools: [pool(1, [member(1, { admin_state_up: false }), member(2)])] });
  for (const [before, after, disabled] of [
    [spec(), without, true],
    [without, spec(), false],
  ] as const) {
    const wanted = { how: "runtime", changes: [{ ...change("state"), server: { disabled } }] };
    t.match(planHaproxy(before, after), wanted);
  }
});

t.test("a member comes, with all its words, and goes without a reload", async (t) => {
  const checked = { health_monitor: monitor(), protocol: "PROXY" } as const;
  const one = spec({ pools: [pool(1, [member(1)], checked)] });
  const two = spec({ pools: [pool(1, [member(1), member(2, { monitor_port: 99, backup: true })], checked)] });
  const { changes } = runtime(planHaproxy(one, two));
  t.match(changes, [{ kind: "add", backend: BACKEND, server: { name: idOf("member", 2) } }]);
  t.match(changes[0], { options: /^id \d+ check port 99 backup inter 1s rise 1 fall 1 send-proxy$/, cookies: false });
  t.strictSame(runtime(planHaproxy(two, one)).changes, [
    { kind: "remove", backend: BACKEND, server: idOf("member", 2) },
  ]);
});

t.test("a member's address and port are told to the running worker", async (t) => {
  const address = spec({ pools: [pool(1, [member(1, { address: "fd77::99" }), member(2)])] });
  t.match(runtime(planHaproxy(spec(), address)).changes, [{ ...change("address"), server: { address: "[fd77::99]" } }]);
  const port = spec({ pools: [pool(1, [member(1, { protocol_port: 81 }), member(2)])] });
  t.match(runtime(planHaproxy(spec(), port)).changes, [{ ...change("address"), server: { port: 81 } }]);
});

t.test("a shared pool's member is changed in each of its backends", async (t) => {
  const listeners = [listener(1), listener(2), listener(3, { timeout_member_data: 600_000 })];
  const pools = [pool(1, [member(1, { weight: 7 }), member(2)])];
  t.match(runtime(planHaproxy(spec({ listeners }), spec({ listeners, pools }))).changes, [
    change("weight"),
    change("weight", `${idOf("pool")}:http:5000:600000`),
  ]);
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
    "where a member is checked": { pools: [pool(1, [member(1, { monitor_port: 81 }), member(2)], CHECKED)] },
    "a backup": { pools: [pool(1, [member(1, { backup: true }), member(2)])] },
    "a monitor": { pools: [pool(1, [member(1), member(2)], { health_monitor: monitor() })] },
  };
  const before = (what: string) =>
    what.includes("checked") ? { pools: [pool(1, [member(1), member(2)], CHECKED)] } : {};
  for (const [what, changes] of Object.entries(other)) {
    t.strictSame(planHaproxy(spec(before(what)), spec(changes)), { how: "reload" }, what);
  }
});

t.test("the changes bring about exactly what the next configuration says", async () => {
  const pairs = arbitrarySpec.chain((before) => fc.tuple(fc.constant(before), withOtherMembers(before)));
  fc.assert(
    fc.property(pairs, ([before, after]) => {
      const plan = planHaproxy(before, after);
      const servers = serversOf(before);
      if (plan.how === "reload") return false;
      if (plan.how === "runtime") for (const each of plan.changes) carryOut(each, servers);
      return isDeepStrictEqual(servers, serversOf(after));
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

const CHECKED = { health_monitor: monitor() };

/** A change of member 1. */
function change(kind: RuntimeChange["kind"], backend = BACKEND) {
  return { kind, backend, server: { name: idOf("member") } };
}

function runtime(plan: HaproxyPlan): Extract<HaproxyPlan, { how: "runtime" }> {
  if (plan.how !== "runtime") throw new Error(plan.how);
  return plan;
}

type Servers = Map<string, Record<string, unknown>>;

/** What a worker that has just read the configuration knows of its servers. */
function serversOf(spec: AmphoraSpec): Servers {
  return new Map(
    haproxyView(spec).backends.flatMap(({ name, servers, defaults }) =>
      servers.map((server) => [`${name}/${server.name}`, { ...server, defaults }]),
    ),
  );
}

/** A change, as HAProxy carries it out. */
function carryOut(change: RuntimeChange, servers: Servers): void {
  if (change.kind === "certificate") throw new Error("there is no certificate in these specs");
  const name = `${change.backend}/${typeof change.server === "string" ? change.server : change.server.name}`;
  const server = servers.get(name);
  if (change.kind === "add") {
    if (server !== undefined) throw new Error(`there is a server ${name} already`);
    const { options } = change.server;
    servers.set(name, { ...change.server, defaults: change.options.slice(options.length + 1) || null });
    return;
  }
  if (server === undefined) throw new Error(`there is no server ${name}`);
  if (change.kind === "remove") servers.delete(name);
  else if (change.kind === "address")
    Object.assign(server, { address: change.server.address, port: change.server.port });
  else if (change.kind === "weight") server.weight = change.server.weight;
  else server.disabled = change.server.disabled;
}
