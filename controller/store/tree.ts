/** A load balancer with everything it consists of: one query per table, however large it is. */
import { type HealthMonitor, healthMonitor } from "../model/health-monitor.ts";
import { type Listener, listener } from "../model/listener.ts";
import type { LoadBalancer } from "../model/load-balancer.ts";
import { type Member, member } from "../model/member.ts";
import { type Pool, pool } from "../model/pool.ts";
import { type Connection, selectRows } from "./rows.ts";

export interface Tree {
  readonly loadBalancer: LoadBalancer;
  readonly listeners: readonly Listener[];
  readonly pools: readonly PoolTree[];
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
  const pools = await selectRows(db, pool, where);
  const members = await selectRows(db, member, where);
  const monitors = await selectRows(db, healthMonitor, where);
  const membersOf = Map.groupBy(members, (each) => each.pool_id);
  const monitorOf = new Map(monitors.map((each) => [each.pool_id, each]));
  return {
    loadBalancer,
    listeners,
    pools: pools.map((each) => ({
      pool: each,
      members: membersOf.get(each.id) ?? [],
      healthMonitor: monitorOf.get(each.id) ?? null,
    })),
  };
}
