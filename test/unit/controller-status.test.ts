/** From what amphorae report to operating statuses: Octavia's rules, one table each. */
import t from "tap";
import type { HealthReport, ListenerState, MemberState } from "../../agent/protocol.ts";
import { statusesOf } from "../../controller/health/status.ts";
import type { HealthMonitor } from "../../controller/model/health-monitor.ts";
import type { Listener } from "../../controller/model/listener.ts";
import type { LoadBalancer } from "../../controller/model/load-balancer.ts";
import type { Member } from "../../controller/model/member.ts";
import type { Pool } from "../../controller/model/pool.ts";
import type { Tree } from "../../controller/store/tree.ts";
import { aHealthMonitor, aListener, aLoadBalancer, aMember, aPool } from "../support/tree.ts";

const OFF = { admin_state_up: false } as const;

interface Given {
  lb?: Partial<LoadBalancer>;
  listener?: Partial<Listener>;
  pool?: Partial<Pool>;
  /** null: none */
  monitor?: Partial<HealthMonitor> | null;
  /** one per member */
  members?: Partial<Member>[];
  /** states by member, of each amphora's report; null: it knows nothing of the member */
  reports?: (MemberState | null)[][];
  open?: ListenerState | null;
}

/** The statuses of a load balancer with one listener, whose pool has these members. */
function statuses({ lb, listener, pool, monitor = {}, members = [{}], reports = [["UP"]], open = "OPEN" }: Given) {
  const row = aLoadBalancer(lb);
  const itsPool = aPool(row, pool);
  const itsListener = aListener(row, { default_pool_id: itsPool.id, ...listener });
  const itsMembers = members.map((each) => aMember(itsPool, each));
  const itsMonitor = monitor === null ? null : aHealthMonitor(itsPool, monitor);
  const tree: Tree = {
    loadBalancer: row,
    listeners: [{ listener: itsListener, policies: [] }],
    pools: [{ pool: itsPool, members: itsMembers, healthMonitor: itsMonitor }],
  };
  const told = reports.map((states): HealthReport => {
    const known = itsMembers.flatMap((each, i): [string, MemberState][] => {
      const state = states[i];
      return state ? [[each.id, state]] : [];
    });
    const listeners: Record<string, ListenerState> = open === null ? {} : { [itsListener.id]: open };
    return { revision: 1, listeners, pools: { [itsPool.id]: Object.fromEntries(known) } };
  });
  const found = statusesOf(tree, told, 1);
  return {
    lb: found.load_balancers.get(row.id),
    listener: found.listeners.get(itsListener.id),
    pool: found.pools.get(itsPool.id),
    members: itsMembers.map((each) => found.members.get(each.id)).join(" "),
    monitor: itsMonitor === null ? null : found.health_monitors.get(itsMonitor.id),
  };
}

t.test("a member is as the amphora sees it", async (t) => {
  const table: Record<MemberState, string> = {
    UP: "ONLINE",
    DOWN: "ERROR",
    DRAIN: "DRAINING",
    MAINT: "OFFLINE",
    NO_CHECK: "NO_MONITOR",
  };
  for (const [state, status] of Object.entries(table) as [MemberState, string][]) {
    t.equal(statuses({ reports: [[state]] }).members, status, state);
  }
});

t.test("a member that the amphora does not know yet is OFFLINE, or NO_MONITOR where none is checked", async (t) => {
  t.equal(statuses({ reports: [[null]] }).members, "OFFLINE");
  t.equal(statuses({ reports: [[null]], monitor: null }).members, "NO_MONITOR");
});

t.test("of what several amphorae see, the worst counts", async (t) => {
  const table: [MemberState | null, MemberState | null, string][] = [
    ["UP", "UP", "ONLINE"],
    ["UP", "DOWN", "ERROR"],
    ["DOWN", "UP", "ERROR"],
    ["UP", "DRAIN", "DRAINING"],
    ["UP", null, "ONLINE"],
    ["DRAIN", "DOWN", "ERROR"],
  ];
  for (const [one, two, status] of table) {
    t.equal(statuses({ reports: [[one], [two]] }).members, status, `${one} and ${two}`);
  }
});

t.test("a pool is DEGRADED when a member is down, and in ERROR when all are", async (t) => {
  const table: [MemberState[], string][] = [
    [[], "ONLINE"],
    [["UP"], "ONLINE"],
    [["UP", "UP"], "ONLINE"],
    [["UP", "DOWN"], "DEGRADED"],
    [["DOWN", "UP", "UP"], "DEGRADED"],
    [["DOWN"], "ERROR"],
    [["DOWN", "DOWN"], "ERROR"],
    [["DRAIN"], "ONLINE"],
    [["DRAIN", "DOWN"], "DEGRADED"],
    [["NO_CHECK", "NO_CHECK"], "ONLINE"],
  ];
  for (const [states, status] of table) {
    const { pool, lb } = statuses({ members: states.map(() => ({})), reports: [states] });
    t.equal(pool, status, states.join(" "));
    t.equal(lb, status, `and so is the load balancer: ${states.join(" ")}`);
  }
});

t.test("members out of service do not count", async (t) => {
  const members = [{}, OFF];
  t.match(statuses({ members, reports: [["UP", "DOWN"]] }), { pool: "ONLINE", members: "ONLINE OFFLINE" });
  t.match(statuses({ members, reports: [["DOWN", "UP"]] }), { pool: "ERROR", members: "ERROR OFFLINE" });
  t.match(statuses({ members: [OFF], reports: [["MAINT"]] }), { pool: "ONLINE", members: "OFFLINE" });
});

t.test("a listener is ONLINE, DEGRADED when it is full, and OFFLINE until it is open", async (t) => {
  const table: [ListenerState | null, string, string][] = [
    ["OPEN", "ONLINE", "ONLINE"],
    ["FULL", "DEGRADED", "DEGRADED"],
    ["DOWN", "ERROR", "ERROR"],
    [null, "OFFLINE", "ONLINE"],
  ];
  for (const [open, listener, lb] of table) t.match(statuses({ open }), { listener, lb }, String(open));
});

t.test("what is disabled is OFFLINE", async (t) => {
  const online = { lb: "ONLINE", listener: "ONLINE", pool: "ONLINE", members: "ONLINE", monitor: "ONLINE" };
  const offline = { lb: "OFFLINE", listener: "OFFLINE", pool: "OFFLINE", members: "OFFLINE", monitor: "OFFLINE" };
  t.strictSame(statuses({}), online);
  t.strictSame(statuses({ lb: OFF }), offline, "with the load balancer, everything");
  t.strictSame(statuses({ listener: OFF }), { ...online, listener: "OFFLINE" });
  t.strictSame(statuses({ monitor: OFF }), { ...online, monitor: "OFFLINE" });
  t.strictSame(statuses({ members: [OFF] }), { ...online, members: "OFFLINE" });
  t.strictSame(statuses({ pool: OFF }), { ...online, pool: "OFFLINE", members: "OFFLINE" });
});

t.test("without a report, everything is OFFLINE", async (t) => {
  const offline = { lb: "OFFLINE", listener: "OFFLINE", pool: "OFFLINE", members: "OFFLINE", monitor: "OFFLINE" };
  t.strictSame(statuses({ reports: [] }), offline);
  t.strictSame(statuses({ reports: [], monitor: null }), { ...offline, monitor: null });
});

t.test("a pool that nobody can reach does not make the load balancer worse", async (t) => {
  const dead = { reports: [["DOWN"]] } satisfies Given;
  t.match(statuses(dead), { pool: "ERROR", lb: "ERROR" });
  t.match(statuses({ ...dead, listener: { default_pool_id: null } }), { pool: "ERROR", lb: "ONLINE" });
  t.match(statuses({ ...dead, listener: OFF }), { pool: "ERROR", lb: "ONLINE" });
  t.match(statuses({ ...dead, pool: OFF }), { pool: "OFFLINE", lb: "ONLINE" });
});

t.test("the worst part decides about the load balancer", async (t) => {
  const two = { members: [{}, {}], reports: [["UP", "DOWN"]] } satisfies Given;
  t.match(statuses({ ...two, open: "DOWN" }), { pool: "DEGRADED", listener: "ERROR", lb: "ERROR" });
  t.match(statuses({ ...two, open: "FULL" }), { pool: "DEGRADED", listener: "DEGRADED", lb: "DEGRADED" });
  t.match(statuses({ reports: [["DOWN"]], open: "FULL" }), { pool: "ERROR", lb: "ERROR" });
});

t.test("a load balancer without parts is ONLINE once an amphora speaks", async (t) => {
  const loadBalancer = aLoadBalancer();
  const empty: Tree = { loadBalancer, listeners: [], pools: [] };
  t.equal(statusesOf(empty, [], 1).load_balancers.get(loadBalancer.id), "OFFLINE");
  const report = { revision: 1, listeners: {}, pools: {} };
  t.equal(statusesOf(empty, [report], 1).load_balancers.get(loadBalancer.id), "ONLINE");
});

t.test("a load balancer with fewer amphorae than it should have is DEGRADED", async (t) => {
  const loadBalancer = aLoadBalancer();
  const empty: Tree = { loadBalancer, listeners: [], pools: [] };
  const report = { revision: 1, listeners: {}, pools: {} };
  const status = (speaking: number, wanted: number) =>
    statusesOf(empty, Array(speaking).fill(report), wanted).load_balancers.get(loadBalancer.id);
  t.equal(status(1, 2), "DEGRADED");
  t.equal(status(2, 2), "ONLINE");
  t.equal(status(3, 2), "ONLINE", "while one is being replaced there may be more");
  t.equal(status(0, 2), "OFFLINE");
});

t.test("a report of things that the load balancer does not have is passed over", async (t) => {
  const loadBalancer = aLoadBalancer();
  const report: HealthReport = { revision: 1, listeners: { x: "DOWN" }, pools: { y: { z: "DOWN" } } };
  const found = statusesOf({ loadBalancer, listeners: [], pools: [] }, [report], 1);
  t.equal(found.load_balancers.get(loadBalancer.id), "ONLINE");
  for (const part of [found.listeners, found.pools, found.members, found.health_monitors]) t.equal(part.size, 0);
});
