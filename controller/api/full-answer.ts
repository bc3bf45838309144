/** The answer to making a load balancer with parts: everything that was made, in full. */
import { healthMonitor } from "../model/health-monitor.ts";
import { type L7Policy, l7policy } from "../model/l7policy.ts";
import { l7rule } from "../model/l7rule.ts";
import { type Listener, listener } from "../model/listener.ts";
import { loadBalancer } from "../model/load-balancer.ts";
import { member } from "../model/member.ts";
import { type Pool, pool } from "../model/pool.ts";
import type { Resource, Row } from "../model/resource.ts";
import { answer } from "./answers.ts";
import type { Change } from "./change.ts";

export function everythingOf(change: Change): Record<string, unknown> {
  const rules = within(change, l7rule, "l7policy_id");
  const policies = within(change, l7policy, "listener_id");
  const policiesTo = within(change, l7policy, "redirect_pool_id");
  const members = within(change, member, "pool_id");
  const monitors = within(change, healthMonitor, "pool_id");
  const listenersTo = listenersByPool(change);
  const loadbalancers = [{ id: change.loadBalancer.id }];

  const showPolicy = (row: L7Policy) =>
    answer(l7policy, row, { rules: rules(row.id).map((each) => answer(l7rule, each)) });
  const showListener = (row: Listener) => {
    const inOrder = policies(row.id).toSorted((a, b) => a.position - b.position);
    return answer(listener, row, { loadbalancers, l7policies: inOrder.map(showPolicy) });
  };
  const showPool = (row: Pool) => {
    const [monitor] = monitors(row.id);
    const shown = answer(pool, row, {
      loadbalancers,
      listeners: [...(listenersTo.get(row.id) ?? [])].map((id) => ({ id })),
      l7policies: policiesTo(row.id).map(({ id }) => ({ id })),
      members: members(row.id).map((each) => answer(member, each)),
      healthmonitor_id: monitor?.id ?? null,
    });
    const healthmonitor = monitor === undefined ? null : answer(healthMonitor, monitor, { pools: [{ id: row.id }] });
    return { ...shown, healthmonitor };
  };
  return answer(loadBalancer, change.loadBalancer, {
    listeners: change.added(listener).map(showListener),
    pools: change.added(pool).map(showPool),
  });
}

/** The new rows of a kind by what a column of theirs says. */
function within<R extends Resource>(change: Change, resource: R, column: keyof Row<R>) {
  const found = Map.groupBy(change.added(resource), (row) => String(row[column]));
  return (id: string) => found.get(id) ?? [];
}

/** Which listeners send to a pool, by default or by a policy. */
function listenersByPool(change: Change): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  const put = (poolId: string | null, listenerId: string) => {
    if (poolId !== null) found.set(poolId, (found.get(poolId) ?? new Set()).add(listenerId));
  };
  for (const { id, default_pool_id } of change.added(listener)) put(default_pool_id, id);
  for (const { listener_id, redirect_pool_id } of change.added(l7policy)) put(redirect_pool_id, listener_id);
  return found;
}
