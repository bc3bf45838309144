import t from "tap";
import { healthMonitor } from "../../controller/model/health-monitor.ts";
import { listener } from "../../controller/model/listener.ts";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import { member } from "../../controller/model/member.ts";
import { pool } from "../../controller/model/pool.ts";
import type { Store } from "../../controller/store/database.ts";
import { objects, startApi } from "../support/api.ts";
import { databases } from "../support/postgres.ts";
import { aHealthMonitor, aListener, aLoadBalancer, aMember, aPool, insertAll } from "../support/tree.ts";

for (const database of databases(t)) {
  t.test(`${database.name}: a list of hundreds takes as many statements as one of two`, async (t) => {
    let statements: string[] = [];
    const api = await startApi(t, database, { settles: false, onQuery: (statement) => statements.push(statement) });
    const pools = await populate(api.store, 2);
    const lists = ["/loadbalancers", "/listeners", "/pools", "/healthmonitors", `/pools/${pools[0]}/members`];
    const count = async (path: string) => {
      statements = [];
      const answer = await api.call("GET", path);
      const [name = ""] = Object.keys(answer.body);
      return { objects: objects(answer, name).length, statements: statements.length };
    };
    const few = [];
    for (const path of lists) few.push(await count(path));
    await populate(api.store, 198);
    for (const [i, path] of lists.entries()) {
      const many = await count(path);
      if (i < 4) t.equal(many.objects, 200, path);
      t.equal(many.statements, few[i]?.statements, path);
      t.ok(many.statements > 0 && many.statements <= 5, `${path}: ${many.statements}`);
    }
  });

  t.test(`${database.name}: changing a member costs the same in a large load balancer as in a small one`, async (t) => {
    let statements = 0;
    const api = await startApi(t, database, { settles: false, onQuery: () => statements++ });
    const { lb, pool: poolId, member: memberId } = await api.graph();
    const change = async () => {
      statements = 0;
      const answer = await api.call("PUT", `/pools/${poolId}/members/${memberId}`, { member: { weight: 2 } });
      t.equal(answer.status, 202);
      const taken = statements;
      await api.reconciler.settle();
      return taken;
    };
    const small = await change();
    const more = Array.from({ length: 300 }, (_, i) =>
      aMember(aPool(aLoadBalancer()), { loadbalancer_id: lb, pool_id: poolId, protocol_port: i + 1 }),
    );
    await insertAll(api.store, member, ...more);
    t.equal(await change(), small);
  });
}

/** So many load balancers, each with a listener, a pool, two members and a health monitor; the ids of the pools. */
async function populate(store: Store, number: number): Promise<string[]> {
  const trees = Array.from({ length: number }, () => {
    const lb = aLoadBalancer();
    const itsPool = aPool(lb);
    return { lb, itsPool, itsListener: aListener(lb, { default_pool_id: itsPool.id }) };
  });
  await insertAll(store, loadBalancer, ...trees.map(({ lb }) => lb));
  await insertAll(store, pool, ...trees.map(({ itsPool }) => itsPool));
  await insertAll(store, listener, ...trees.map(({ itsListener }) => itsListener));
  await insertAll(store, member, ...trees.flatMap(({ itsPool }) => [aMember(itsPool), aMember(itsPool)]));
  await insertAll(store, healthMonitor, ...trees.map(({ itsPool }) => aHealthMonitor(itsPool)));
  return trees.map(({ itsPool }) => itsPool.id);
}
