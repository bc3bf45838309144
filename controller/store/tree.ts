/** A load balancer with everything it consists of: one query per table, however large it is. */
import { type HealthMonitor, healthMonitor } from "../model/health-monitor.ts";
import { type L7Policy, l7policy } from "../model/l7policy.ts";
import { type L7Rule, l7rule } from "../model/l7rule.ts";
import { type Listener, listener } from "../model/listener.ts";
import type { LoadBalancer } from "../model/load-balancer.ts";
import { type Member, member } from "../model/member.ts";
import { type Pool, pool } from "../model/pool.ts";
import { type Connection, selectRows } from "./rows.ts";

export interface Tree {
  readonly loadBalancer: LoadBalancer;
  readonly listeners: readonly ListenerTree[];
  readonly pools: readonly PoolTree[];
}

export interface ListenerTree {
  readonly listener: Listener;
  /** in the order of their positions */
  readonly policies: readonly PolicyTree[];
}

export interface PolicyTree {
  readonly policy: L7Policy;
  readonly rules: readonly L7Rule[];
}

export interface PoolTree {
  readonly pool: Pool;
  readonly members: readonly Member[];
  readonly healthMonitor: HealthMonitor | null;
}

/** What is wanted: without what is to be removed. */
export async function loadTree(db: Connection, loadBalancer: LoadBalancer): Promise<Tree> {
  const where = { loadbalancer_id: loadBalancer.id, doomed: false };
  // one after the other: all of them share the connection of a transaction
  const listeners = await selectRows(db, listener, where);
  const policies = await selectRows(db, l7policy, where);
  const rules = policies.length === 0 ? [] : await selectRows(db, l7rule, where);
  const pools = await selectRows(db, pool, where);
  const members = await selectRows(db, member, where);
  const monitors = await selectRows(db, healthMonitor, where);
  const rulesOf = Map.groupBy(rules, (each) => each.l7policy_id);
  const policiesOf = Map.groupBy(
    policies.toSorted((a, b) => a.position - b.position),
    (each) => each.listener_id,
  );
  const membersOf = Map.groupBy(members, (each) => each.pool_id);
  const monitorOf = new Map(monitors.map((each) => [each.pool_id, each]));
  return {
    loadBalancer,
    listeners: listeners.map((each) => ({
      listener: each,
      policies: (policiesOf.get(each.id) ?? []).map((policy) => ({ policy, rules: rulesOf.get(policy.id) ?? [] })),
    })),
    pools: pools.map((each) => ({
      pool: each,
      members: membersOf.get(each.id) ?? [],
      healthMonitor: monitorOf.get(each.id) ?? null,
    })),
  };
}
