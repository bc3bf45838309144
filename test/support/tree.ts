/** Rows of load balancers and their parts, as tests need them: what a test does not care about has a plausible value. */
import { randomUUID } from "node:crypto";
import { type Amphora, amphora } from "../../controller/model/amphora.ts";
import { type HealthMonitor, healthMonitor } from "../../controller/model/health-monitor.ts";
import { type Listener, listener } from "../../controller/model/listener.ts";
import { type LoadBalancer, loadBalancer } from "../../controller/model/load-balancer.ts";
import { type Member, member } from "../../controller/model/member.ts";
import { type Pool, pool } from "../../controller/model/pool.ts";
import type { Resource, Row } from "../../controller/model/resource.ts";
import type { Store } from "../../controller/store/database.ts";
import { insertRow, newRow, timestamp, untyped } from "../../controller/store/rows.ts";

const present = () => ({
  id: randomUUID(),
  project_id: "project",
  provisioning_status: "ACTIVE",
  operating_status: "OFFLINE",
  created_at: timestamp(),
});

export function aLoadBalancer(given: Partial<LoadBalancer> = {}): LoadBalancer {
  const vip = { vip_address: "10.77.0.2", vip_port_id: randomUUID() };
  const place = { vip_subnet_id: randomUUID(), vip_network_id: randomUUID() };
  return newRow(loadBalancer, { ...present(), ...vip, ...place, ...given });
}

export function aPool(of: LoadBalancer, given: Partial<Pool> = {}): Pool {
  const values = { protocol: "HTTP", lb_algorithm: "ROUND_ROBIN", loadbalancer_id: of.id };
  return newRow(pool, { ...present(), ...values, ...given });
}

export function aListener(of: LoadBalancer, given: Partial<Listener> = {}): Listener {
  return newRow(listener, { ...present(), protocol: "HTTP", protocol_port: 80, loadbalancer_id: of.id, ...given });
}

export function aMember(of: Pool, given: Partial<Member> = {}): Member {
  const place = { pool_id: of.id, loadbalancer_id: of.loadbalancer_id };
  return newRow(member, { ...present(), address: "10.77.0.9", protocol_port: 8080, ...place, ...given });
}

export function aHealthMonitor(of: Pool, given: Partial<HealthMonitor> = {}): HealthMonitor {
  const place = { pool_id: of.id, loadbalancer_id: of.loadbalancer_id };
  const check = { type: "HTTP", delay: 5, timeout: 4, max_retries: 3 };
  return newRow(healthMonitor, { ...present(), ...check, ...place, ...given });
}

export function anAmphora(of: LoadBalancer, given: Partial<Amphora> = {}): Amphora {
  const serves = { role: "STANDALONE", status: "ALLOCATED", revision: of.revision };
  const values = { ...serves, heartbeat_key: "00".repeat(32), created_at: timestamp() };
  return newRow(amphora, { id: randomUUID(), loadbalancer_id: of.id, ...values, ...given });
}

/** Writes rows down, in one transaction. */
export async function insertAll<R extends Resource>(store: Store, resource: R, ...rows: Row<R>[]): Promise<void> {
  await store.transaction(async (trx) => {
    for (const row of rows) await insertRow(trx, resource, row);
  });
}

/** Everything that the store holds: by table, in an order that does not depend on when it was written. */
export async function contents(store: Store): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  for (const name of await tablesOf(store)) {
    const rows = await untyped(store.db).selectFrom(name).selectAll().execute();
    found[name] = rows.map((row) => JSON.stringify(row)).sort();
  }
  return found;
}

/** Asking for them takes PostgreSQL longer than reading them. */
const tablesByStore = new WeakMap<Store, readonly string[]>();

async function tablesOf(store: Store): Promise<readonly string[]> {
  const known = tablesByStore.get(store) ?? (await store.db.introspection.getTables()).map(({ name }) => name);
  tablesByStore.set(store, known);
  return known;
}
