/**
 * From what amphorae report to the operating status of every part of a load balancer: Octavia's rules. Pure.
 */
import type { HealthReport, MemberState } from "../../agent/protocol.ts";
import type { Listener } from "../model/listener.ts";
import type { Member } from "../model/member.ts";
import type { OperatingStatus } from "../model/status.ts";
import type { PoolTree, Tree } from "../store/tree.ts";

const MEMBER_STATUS: Readonly<Record<MemberState, OperatingStatus>> = {
  UP: "ONLINE",
  DOWN: "ERROR",
  DRAIN: "DRAINING",
  MAINT: "OFFLINE",
  NO_CHECK: "NO_MONITOR",
};

/** Operating statuses by table and id. */
export interface Statuses {
  readonly load_balancers: ReadonlyMap<string, OperatingStatus>;
  readonly listeners: ReadonlyMap<string, OperatingStatus>;
  readonly pools: ReadonlyMap<string, OperatingStatus>;
  readonly members: ReadonlyMap<string, OperatingStatus>;
  readonly health_monitors: ReadonlyMap<string, OperatingStatus>;
  readonly l7policies: ReadonlyMap<string, OperatingStatus>;
  readonly l7rules: ReadonlyMap<string, OperatingStatus>;
}

/**
 * @param reports of the amphorae that have spoken lately; none: everything is OFFLINE
 * @param amphorae how many should speak
 */
export function statusesOf(tree: Tree, reports: readonly HealthReport[], amphorae: number): Statuses {
  const enabled = tree.loadBalancer.admin_state_up;
  const members = new Map<string, OperatingStatus>();
  const pools = new Map<string, OperatingStatus>();
  const monitors = new Map<string, OperatingStatus>();
  const listeners = new Map<string, OperatingStatus>();
  const policies = new Map<string, OperatingStatus>();
  const rules = new Map<string, OperatingStatus>();
  /** what amphorae say nothing of does what it is set to, as long as one of them serves */
  const works = (part: { readonly admin_state_up: boolean }) =>
    enabled && reports.length > 0 && part.admin_state_up ? "ONLINE" : "OFFLINE";

  for (const part of tree.pools) {
    const statuses = part.members.map((member) => memberStatus(part, member, reports));
    part.members.forEach((member, i) => {
      members.set(member.id, enabled ? (statuses[i] ?? "OFFLINE") : "OFFLINE");
    });
    pools.set(part.pool.id, enabled ? poolStatus(part, reports, statuses) : "OFFLINE");
    if (part.healthMonitor !== null) monitors.set(part.healthMonitor.id, works(part.healthMonitor));
  }
  for (const { listener, policies: own } of tree.listeners) {
    listeners.set(listener.id, enabled ? listenerStatus(listener, reports) : "OFFLINE");
    for (const part of own) {
      policies.set(part.policy.id, works(part.policy));
      for (const rule of part.rules) rules.set(rule.id, works(rule));
    }
  }
  return {
    load_balancers: new Map([
      [
        tree.loadBalancer.id,
        loadBalancerStatus(enabled, reports.length / amphorae, [...listeners.values()], used(tree, pools)),
      ],
    ]),
    listeners,
    pools,
    members,
    health_monitors: monitors,
    l7policies: policies,
    l7rules: rules,
  };
}

function memberStatus(
  { pool, healthMonitor }: PoolTree,
  member: Member,
  reports: readonly HealthReport[],
): OperatingStatus {
  if (!member.admin_state_up || !pool.admin_state_up) return "OFFLINE";
  const states = reports.flatMap((report) => report.pools[pool.id]?.[member.id] ?? []);
  if (states.length === 0) return reports.length > 0 && healthMonitor === null ? "NO_MONITOR" : "OFFLINE";
  return worst(states.map((state) => MEMBER_STATUS[state]));
}

/** Worst of its members: one that is down degrades it, all down break it. One without members is as good as it can be. */
function poolStatus(
  { pool, members }: PoolTree,
  reports: readonly HealthReport[],
  statuses: readonly OperatingStatus[],
): OperatingStatus {
  if (!pool.admin_state_up || reports.length === 0) return "OFFLINE";
  const counted = statuses.filter((_, i) => members[i]?.admin_state_up);
  const down = counted.filter((status) => status === "ERROR").length;
  if (down === 0) return "ONLINE";
  return down === counted.length ? "ERROR" : "DEGRADED";
}

function listenerStatus(listener: Listener, reports: readonly HealthReport[]): OperatingStatus {
  if (!listener.admin_state_up) return "OFFLINE";
  const states = reports.flatMap((report) => report.listeners[listener.id] ?? []);
  if (states.length === 0) return "OFFLINE";
  if (states.includes("DOWN")) return "ERROR";
  return states.includes("FULL") ? "DEGRADED" : "ONLINE";
}

/** Pools that a listener uses: what nobody reaches does not make the load balancer worse. */
function used(tree: Tree, pools: ReadonlyMap<string, OperatingStatus>): OperatingStatus[] {
  const open = tree.listeners.filter(({ listener }) => listener.admin_state_up);
  const ids = new Set(
    open.flatMap(({ listener, policies }) => [
      listener.default_pool_id,
      ...policies.map(({ policy }) => (policy.admin_state_up ? policy.redirect_pool_id : null)),
    ]),
  );
  return [...pools].filter(([id]) => ids.has(id)).map(([, status]) => status);
}

function loadBalancerStatus(
  enabled: boolean,
  /** of the amphorae, how many speak */
  present: number,
  listeners: readonly OperatingStatus[],
  pools: readonly OperatingStatus[],
): OperatingStatus {
  if (!enabled || present === 0) return "OFFLINE";
  return worst([
    present < 1 ? "DEGRADED" : "ONLINE",
    ...[...listeners, ...pools].filter((status) => status === "ERROR" || status === "DEGRADED"),
  ]);
}

/** From best to worst. */
const ORDER: readonly OperatingStatus[] = ["ONLINE", "NO_MONITOR", "OFFLINE", "DRAINING", "DEGRADED", "ERROR"];

function worst(statuses: readonly OperatingStatus[]): OperatingStatus {
  return statuses.reduce((a, b) => (ORDER.indexOf(b) > ORDER.indexOf(a) ? b : a), "ONLINE");
}
