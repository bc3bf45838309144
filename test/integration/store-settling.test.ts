import { randomUUID } from "node:crypto";
import t from "tap";
import { amphora } from "../../controller/model/amphora.ts";
import { healthMonitor } from "../../controller/model/health-monitor.ts";
import { listener } from "../../controller/model/listener.ts";
import { type LoadBalancer, loadBalancer } from "../../controller/model/load-balancer.ts";
import { member } from "../../controller/model/member.ts";
import { pool } from "../../controller/model/pool.ts";
import type { Resource, Row } from "../../controller/model/resource.ts";
import type { Store } from "../../controller/store/database.ts";
import { claim } from "../../controller/store/leases.ts";
import { doomEverything, fail, forget, makeDue, raiseRevision, settle } from "../../controller/store/load-balancers.ts";
import { findRow, updateRow } from "../../controller/store/rows.ts";
import { databases } from "../support/postgres.ts";
import {
  aHealthMonitor,
  aListener,
  aLoadBalancer,
  aMember,
  anAmphora,
  aPool,
  contents,
  insertAll,
} from "../support/tree.ts";

const FAILURE = { reason: "no answer", tryAgainAt: 12_345, error: true };
const WAYS_TO_END = {
  settle,
  fail: (store: Store, row: LoadBalancer) => fail(store, row, FAILURE),
  forget: (store: Store, row: LoadBalancer) => forget(store, row, async () => undefined),
};

for (const database of databases(t)) {
  t.test(`${database.name}: settling makes ACTIVE what was pending`, async (t) => {
    const store = await database.open(t);
    const { row, parts } = await pendingLoadBalancer(store, { failing_since: 1, attempts: 2, status_reason: "why" });
    const other = await pendingLoadBalancer(store);
    const claimed = await claimOf(store, "one", row.id);
    t.equal(await settle(store, claimed), true);
    const settled = await mustFind(store, loadBalancer, row.id);
    const { provisioning_status, due_at, lease_owner, lease_until, failing_since, attempts, status_reason } = settled;
    t.equal(provisioning_status, "ACTIVE");
    t.strictSame([due_at, lease_owner, lease_until, failing_since, status_reason], [null, null, null, null, null]);
    t.equal(attempts, 0);
    t.equal(settled.updated_at, null, "being made is no change");
    for (const [resource, part] of parts) {
      t.equal((await mustFind(store, resource, part)).provisioning_status, "ACTIVE", resource.name);
    }
    for (const [resource, part] of other.parts) {
      t.equal((await mustFind(store, resource, part)).provisioning_status, "PENDING_CREATE", "another's is left alone");
    }
    await store.transaction((trx) => raiseRevision(trx, row.id));
    const again = await claimOf(store, "one", row.id);
    t.equal(await settle(store, again), true);
    t.match((await mustFind(store, loadBalancer, row.id)).updated_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/);
  });

  t.test(`${database.name}: settling removes what is doomed, with its statistics`, async (t) => {
    const store = await database.open(t);
    const { row, parts } = await pendingLoadBalancer(store);
    const doomed = aPool(row, { doomed: true });
    const kept = aListener(row, { protocol_port: 81 });
    await insertAll(store, pool, doomed);
    await insertAll(store, member, aMember(doomed, { doomed: true }));
    await insertAll(store, healthMonitor, aHealthMonitor(doomed, { doomed: true }));
    const gone = aListener(row, { doomed: true, default_pool_id: doomed.id, protocol_port: 82 });
    await insertAll(store, listener, kept, gone);
    await counted(store, kept.id);
    await counted(store, gone.id);
    const claimed = await claimOf(store, "one", row.id);
    t.equal(await settle(store, claimed), true);
    const left = await contents(store);
    const counts = [left.listeners, left.pools, left.members, left.health_monitors].map((rows) => rows?.length);
    t.strictSame(counts, [2, 1, 1, 1], "what was not doomed");
    for (const [resource, part] of parts) await mustFind(store, resource, part);
    t.strictSame(left.listener_statistics?.length, 1);
    t.match(left.listener_statistics?.[0], kept.id);
  });

  t.test(`${database.name}: a failure is written down, and the load balancer tried again`, async (t) => {
    const store = await database.open(t);
    const { row, parts } = await pendingLoadBalancer(store);
    const before = Date.now();
    const first = await claimOf(store, "one", row.id);
    t.equal(await fail(store, first, { reason: "it's early", tryAgainAt: before - 1, error: false }), true);
    const failed = await mustFind(store, loadBalancer, row.id);
    t.match(failed, {
      provisioning_status: "PENDING_CREATE",
      status_reason: "it's early",
      attempts: 1,
      lease_owner: null,
    });
    t.equal(failed.due_at, before - 1);
    t.ok((failed.failing_since ?? 0) >= before, "it began to fail now");
    const second = await claimOf(store, "two", row.id);
    t.equal(await fail(store, second, { reason: "still", tryAgainAt: Date.now() + 1, error: true }), true);
    const given = await mustFind(store, loadBalancer, row.id);
    t.match(given, { provisioning_status: "ERROR", status_reason: "still", attempts: 2 });
    t.equal(given.failing_since, failed.failing_since, "a row of failures has one beginning");
    for (const [resource, part] of parts) {
      t.equal((await mustFind(store, resource, part)).provisioning_status, "ERROR", resource.name);
    }
  });

  for (const [name, end] of Object.entries({ settle: WAYS_TO_END.settle, fail: WAYS_TO_END.fail })) {
    t.test(`${database.name}: what becomes due while it is worked on is due still after ${name}`, async (t) => {
      const store = await database.open(t);
      const { row } = await pendingLoadBalancer(store);
      const claimed = await claimOf(store, "one", row.id);
      await makeDue(store.db, [row.id]);
      const { due_at } = await mustFind(store, loadBalancer, row.id);
      t.equal(await end(store, claimed), true);
      t.equal((await mustFind(store, loadBalancer, row.id)).due_at, due_at);
      const again = await claimOf(store, "two", row.id);
      t.equal(await end(store, again), true);
      t.equal((await mustFind(store, loadBalancer, row.id)).due_at, name === "fail" ? FAILURE.tryAgainAt : null);
    });
  }

  t.test(`${database.name}: an ERROR leaves alone the parts that were carried out`, async (t) => {
    const store = await database.open(t);
    const { row } = await pendingLoadBalancer(store);
    const done = aListener(row, { protocol_port: 81, provisioning_status: "ACTIVE" });
    await insertAll(store, listener, done);
    const claimed = await claimOf(store, "one", row.id);
    await fail(store, claimed, FAILURE);
    t.equal((await mustFind(store, listener, done.id)).provisioning_status, "ACTIVE");
  });

  t.test(`${database.name}: a new change begins with a clean slate, and is due at once`, async (t) => {
    const store = await database.open(t);
    const past = { failing_since: 1, attempts: 9, due_at: Date.now() + 100_000, provisioning_status: "ERROR" as const };
    const { row } = await pendingLoadBalancer(store, past);
    await store.transaction((trx) => raiseRevision(trx, row.id, "PENDING_DELETE"));
    const raised = await mustFind(store, loadBalancer, row.id);
    const expected = {
      revision: row.revision + 1,
      failing_since: null,
      attempts: 0,
      provisioning_status: "PENDING_DELETE",
    };
    t.match(raised, expected);
    t.ok((raised.due_at ?? Infinity) <= Date.now());
  });

  t.test(
    `${database.name}: a load balancer is forgotten with everything that belonged to it, and nothing else`,
    async (t) => {
      const store = await database.open(t);
      const { row, listenerId } = await pendingLoadBalancer(store);
      const other = aLoadBalancer();
      await insertAll(store, loadBalancer, other);
      await insertAll(store, amphora, anAmphora(row), anAmphora(other));
      await counted(store, listenerId);
      await store.transaction((trx) => doomEverything(trx, row.id));
      const claimed = await claimOf(store, "one", row.id);
      const refusing = forget(store, claimed, () => Promise.reject(new Error("not released")));
      await t.rejects(refusing, new Error("not released"));
      await mustFind(store, listener, listenerId);
      t.equal(await forget(store, claimed, async () => undefined), true);
      const left = await contents(store);
      const tables = ["load_balancers", "amphorae", "listeners", "pools", "members", "health_monitors"];
      t.strictSame(
        tables.map((name) => left[name]?.length),
        [1, 1, 0, 0, 0, 0],
      );
      t.strictSame(left.listener_statistics, []);
      t.match(left.amphorae?.[0], other.id);
    },
  );

  for (const [name, end] of Object.entries(WAYS_TO_END)) {
    t.test(`${database.name}: who has lost the lease, or saw an older revision, can't ${name}`, async (t) => {
      const store = await database.open(t);
      const { row } = await pendingLoadBalancer(store);
      const claimed = await claimOf(store, "one", row.id);
      const attempts: Record<string, Partial<LoadBalancer>> = {
        "another's lease": { lease_owner: "two" },
        "no lease": { lease_owner: null },
        "another revision": { revision: claimed.revision + 1 },
      };
      for (const [what, present] of Object.entries(attempts)) {
        const patch = { lease_owner: "one", revision: claimed.revision, ...present };
        await updateRow(store.db, loadBalancer, row.id, patch);
        const before = await contents(store);
        t.equal(await end(store, claimed), false, what);
        t.strictSame(await contents(store), before, `${what}: nothing is written`);
      }
      await updateRow(store.db, loadBalancer, row.id, { lease_owner: "one", revision: claimed.revision });
      t.equal(await end(store, { ...claimed, lease_owner: null }), false, "nobody holds a lease that is nobody's");
      t.equal(await end(store, claimed), true, "the one who has it can");
      t.equal(await end(store, claimed), false, "once");
    });
  }
}

/** A load balancer with one part of each kind, all being made, and due. */
async function pendingLoadBalancer(store: Store, given: Partial<LoadBalancer> = {}) {
  const pending = { provisioning_status: "PENDING_CREATE" } as const;
  const row = aLoadBalancer({ ...pending, due_at: Date.now() - 1000, ...given });
  const itsPool = aPool(row, pending);
  const itsListener = aListener(row, { ...pending, default_pool_id: itsPool.id });
  const itsMember = aMember(itsPool, pending);
  const itsMonitor = aHealthMonitor(itsPool, pending);
  await insertAll(store, loadBalancer, row);
  await insertAll(store, pool, itsPool);
  await insertAll(store, listener, itsListener);
  await insertAll(store, member, itsMember);
  await insertAll(store, healthMonitor, itsMonitor);
  const parts = [
    [listener, itsListener.id],
    [pool, itsPool.id],
    [member, itsMember.id],
    [healthMonitor, itsMonitor.id],
  ] as const;
  return { row, parts, listenerId: itsListener.id };
}

/** Claims what is due, and gives the one of that id. */
async function claimOf(store: Store, owner: string, id: string): Promise<LoadBalancer> {
  const found = (await claim(store, owner, 100)).find((row) => row.id === id);
  if (found === undefined) throw new Error(`${id} is not due`);
  return found;
}

async function counted(store: Store, listenerId: string): Promise<void> {
  const counters = { active_connections: 1, total_connections: 2, bytes_in: 3, bytes_out: 4, request_errors: 5 };
  const row = { listener_id: listenerId, amphora_id: randomUUID(), ...counters };
  await store.db.insertInto("listener_statistics").values(row).execute();
}

async function mustFind<R extends Resource>(store: Store, resource: R, id: string): Promise<Row<R>> {
  const row = await findRow(store.db, resource, id);
  if (row === undefined) throw new Error(`there is no ${resource.name} ${id}`);
  return row;
}
