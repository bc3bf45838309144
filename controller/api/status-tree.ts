/** `GET …/loadbalancers/{id}/status`: the statuses of a load balancer and of everything within it. */
import type { LoadBalancer } from "../model/load-balancer.ts";
import type { Connection } from "../store/rows.ts";
import { loadTree, type PoolTree } from "../store/tree.ts";

interface HasStatus {
  readonly id: string;
  readonly name: string;
  readonly provisioning_status: string;
  readonly operating_status: string;
}

/** A pool stands below each listener that sends to it, by default or by a policy, and once below the load balancer. */
export async function statusTree(db: Connection, loadBalancer: LoadBalancer): Promise<Record<string, unknown>> {
  const tree = await loadTree(db, loadBalancer);
  const pools = new Map(tree.pools.map((each) => [each.pool.id, poolStatus(each)]));
  const listeners = tree.listeners.map(({ listener, policies }) => {
    const targets = policies.map(({ policy }) => policy.redirect_pool_id);
    const ids = [...new Set([listener.default_pool_id, ...targets])];
    return {
      ...statusOf(listener),
      pools: ids.flatMap((id) => (id === null ? [] : (pools.get(id) ?? []))),
      l7policies: policies.map(({ policy, rules }) => ({
        ...statusOf(policy),
        action: policy.action,
        rules: rules.map(({ id, type, provisioning_status, operating_status }) => ({
          id,
          type,
          provisioning_status,
          operating_status,
        })),
      })),
    };
  });
  return { loadbalancer: { ...statusOf(loadBalancer), listeners, pools: [...pools.values()] } };
}

function poolStatus({ pool, members, healthMonitor }: PoolTree) {
  return {
    ...statusOf(pool),
    ...(healthMonitor === null ? {} : { health_monitor: { ...statusOf(healthMonitor), type: healthMonitor.type } }),
    members: members.map((member) => ({
      ...statusOf(member),
      address: member.address,
      protocol_port: member.protocol_port,
    })),
  };
}

function statusOf({ id, name, provisioning_status, operating_status }: HasStatus) {
  return { id, name, operating_status, provisioning_status };
}
