/** What amphorae say becomes statuses, counters and work in the store. */
import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import pino from "pino";
import t, { type Test } from "tap";
import {
  type Counters,
  type HealthReport,
  type Heartbeat,
  NO_TRAFFIC,
  type StatsReport,
} from "../../agent/protocol.ts";
import { Health } from "../../controller/health/health.ts";
import { amphora } from "../../controller/model/amphora.ts";
import { healthMonitor } from "../../controller/model/health-monitor.ts";
import { listener } from "../../controller/model/listener.ts";
import { type LoadBalancer, loadBalancer } from "../../controller/model/load-balancer.ts";
import { member } from "../../controller/model/member.ts";
import { pool } from "../../controller/model/pool.ts";
import type { Store } from "../../controller/store/database.ts";
import { findRow } from "../../controller/store/rows.ts";
import { Settling } from "../../controller/store/settling.ts";
import { until } from "../support/deployment.ts";
import { healthLimits } from "../support/health.ts";
import { databases, type TestDatabase } from "../support/postgres.ts";
import { aHealthMonitor, aListener, aLoadBalancer, aMember, anAmphora, aPool, insertAll } from "../support/tree.ts";

type Counted = NonNullable<Heartbeat["body"]["stats"]>[number];

for (const database of databases(t)) {
  t.test(`${database.name}: when the digest moves, the report is fetched and the statuses are written`, async (t) => {
    const { say, fetched, statuses, answer, ids } = await watching(t, database);
    answer({ listeners: { [ids.listener]: "OPEN" }, pools: { [ids.pool]: { [ids.member]: "UP" } } });
    say({ digest: "one" });
    const online = { lb: "ONLINE", listener: "ONLINE", pool: "ONLINE", member: "ONLINE", monitor: "ONLINE" };
    await until("everything is ONLINE", async () => JSON.stringify(await statuses()) === JSON.stringify(online));
    for (let times = 0; times < 5; times++) say({ digest: "one" });
    answer({ listeners: { [ids.listener]: "OPEN" }, pools: { [ids.pool]: { [ids.member]: "DOWN" } } });
    say({ digest: "two" });
    const broken = { ...online, lb: "ERROR", pool: "ERROR", member: "ERROR" };
    await until("what is down is in ERROR", async () => JSON.stringify(await statuses()) === JSON.stringify(broken));
    t.equal(fetched(), 2, "and only then");
  });

  t.test(`${database.name}: a report that can't be fetched is asked for again with the next heartbeat`, async (t) => {
    const { say, statuses, answer, ids, fetched } = await watching(t, database);
    answer(null);
    say({ digest: "one" });
    await until("it was asked for", async () => fetched() === 1);
    answer({ listeners: { [ids.listener]: "OPEN" }, pools: {} });
    await until("the next heartbeat has it fetched", async () => {
      say({ digest: "one" });
      return (await statuses()).listener === "ONLINE";
    });
  });

  t.test(`${database.name}: counters are written together, the last ones heard, of its own listeners`, async (t) => {
    const { say, ids, store, amphoraId } = await watching(t, database);
    const counters = (n: number): Counted => [ids.listener, n, n, n, n, n];
    const another = aLoadBalancer({ vip_address: "10.77.0.3" });
    const foreign = aListener(another);
    await insertAll(store, loadBalancer, another);
    await insertAll(store, listener, foreign);
    const others = [randomUUID(), foreign.id].map((id): Counted => [id, 9, 9, 9, 9, 9]);
    for (const n of [1, 2, 3]) say({ digest: "", stats: [counters(n), ...others] });
    const rows = () => store.db.selectFrom("listener_statistics").selectAll().execute();
    await until("they are written", async () => (await rows()).length > 0);
    const three: Counters = {
      active_connections: 3,
      total_connections: 3,
      bytes_in: 3,
      bytes_out: 3,
      request_errors: 3,
    };
    t.strictSame(
      (await rows()).map((row) => ({ ...row })),
      [{ listener_id: ids.listener, amphora_id: amphoraId, ...three }],
    );
    say({ digest: "", stats: [counters(2 ** 45)] });
    await until("they are written over", async () => (await rows())[0]?.bytes_in === 2 ** 45);
    t.equal((await rows()).length, 1);
  });

  t.test(
    `${database.name}: counters for which a heartbeat has no room are fetched, but not all the time`,
    async (t) => {
      const { say, ids, store, counted, asked } = await watching(t, database);
      counted.listeners[ids.listener] = { ...NO_TRAFFIC, bytes_in: 7 };
      say({ digest: "" });
      const rows = () => store.db.selectFrom("listener_statistics").selectAll().execute();
      await until("they are written", async () => (await rows())[0]?.bytes_in === 7);
      for (let times = 0; times < 5; times++) say({ digest: "" });
      t.equal(asked(), 1);
    },
  );

  t.test(`${database.name}: when an amphora falls silent, nothing is said to be ONLINE any more`, async (t) => {
    const { say, statuses, answer, ids } = await watching(t, database, {}, 250);
    answer({ listeners: { [ids.listener]: "OPEN" }, pools: { [ids.pool]: { [ids.member]: "UP" } } });
    say({ digest: "one" });
    await until("it is ONLINE", async () => (await statuses()).lb === "ONLINE");
    const offline = { lb: "OFFLINE", listener: "OFFLINE", pool: "OFFLINE", member: "OFFLINE", monitor: "OFFLINE" };
    await until("everything is OFFLINE", async () => JSON.stringify(await statuses()) === JSON.stringify(offline));
  });

  t.test(`${database.name}: an amphora that was silent from the start is noticed too`, async (t) => {
    const { statuses } = await watching(t, database, { operating_status: "ONLINE" }, 100);
    await until("it is OFFLINE", async () => (await statuses()).lb === "OFFLINE");
  });

  t.test(`${database.name}: a silence that could not be written down is written down later`, async (t) => {
    const { statuses, store, warnings } = await watching(t, database, { operating_status: "ONLINE" }, 100);
    const rename = (from: string, to: string) => store.db.schema.alterTable(from).renameTo(to).execute();
    await rename("members", "elsewhere");
    await until("writing it down fails", async () => warnings.length > 0);
    await rename("elsewhere", "members");
    await until("it is OFFLINE", async () => (await statuses()).lb === "OFFLINE");
  });

  t.test(`${database.name}: an amphora that runs something older than what was settled is work`, async (t) => {
    const { say, answer, store, ids, woken } = await watching(t, database, { revision: 5 });
    const dueAt = async () => (await findRow(store.db, loadBalancer, ids.lb))?.due_at;
    answer({ listeners: {}, pools: {}, revision: 5 });
    say({ digest: "five" });
    await until(
      "the report is taken in",
      async () => (await findRow(store.db, loadBalancer, ids.lb))?.operating_status === "ONLINE",
    );
    t.equal(await dueAt(), null, "nothing is to be done while it runs the right one");
    t.equal(woken(), 0);
    answer({ listeners: {}, pools: {}, revision: 4 });
    say({ digest: "four" });
    await until("it is due", async () => ((await dueAt()) ?? Infinity) <= Date.now());
    await until("the reconciler is woken", async () => woken() === 1);
  });

  t.test(`${database.name}: work that could not be written down is written down later`, async (t) => {
    const { say, answer, store, ids, warnings } = await watching(t, database, { revision: 5 });
    const lb = () => findRow(store.db, loadBalancer, ids.lb);
    answer({ listeners: {}, pools: {}, revision: 5 });
    say({ digest: "five" });
    await until("the report is taken in", async () => (await lb())?.operating_status === "ONLINE");
    // only one can be due, and another is
    await insertAll(store, loadBalancer, aLoadBalancer({ due_at: Date.now() }));
    await sql`create unique index one_due on load_balancers ((case when due_at > 0 then 1 end))`.execute(store.db);
    answer({ listeners: {}, pools: {}, revision: 4 });
    say({ digest: "four" });
    await until("writing it down fails", async () => warnings.length > 0);
    await sql`drop index one_due`.execute(store.db);
    say({ digest: "four" });
    await until("it is due", async () => ((await lb())?.due_at ?? Infinity) <= Date.now());
  });

  t.test(`${database.name}: only amphorae that there are have a key, and others that speak are told of`, async (t) => {
    const { health, amphoraId, say, zombies, fetched } = await watching(t, database);
    const unknown = randomUUID();
    const keys = await health.keysOf([amphoraId, unknown]);
    t.strictSame([...keys], [[amphoraId, Buffer.alloc(32)]]);
    say({ digest: "x" }, unknown);
    await until("it is told of", async () => zombies.length > 0);
    t.strictSame(zombies, [unknown]);
    t.equal(fetched(), 0, "and not asked");
  });
}

/** Health over a load balancer with one part of each kind, whose amphora says what the test has it say. */
async function watching(t: Test, database: TestDatabase, given: Partial<LoadBalancer> = {}, interval = 60_000) {
  const store = await database.open(t);
  const ids = await populate(store, given);
  const { amphoraId } = ids;
  const zombies: string[] = [];
  const warnings: string[] = [];
  const settling = new Settling();
  let woken = 0;
  settling.onWork(() => woken++);
  let report: HealthReport | null = null;
  let fetched = 0;
  let asked = 0;
  const counted: StatsReport = { listeners: {} };
  const health = new Health({
    store,
    settling,
    ...healthLimits(interval),
    onZombie: (id) => zombies.push(id),
    client: {
      async health() {
        fetched++;
        if (report === null) throw new Error("no answer");
        return report;
      },
      async info() {
        throw new Error("no answer");
      },
      async stats() {
        asked++;
        return counted;
      },
    },
    log: pino({ level: "warn" }, { write: (line) => warnings.push(line) }),
  });
  await health.start();
  t.teardown(() => health.stop());
  return {
    health,
    store,
    ids,
    amphoraId,
    zombies,
    warnings,
    counted,
    asked: () => asked,
    fetched: () => fetched,
    woken: () => woken,
    answer(what: Partial<HealthReport> | null) {
      report = what === null ? null : { revision: 1, listeners: {}, pools: {}, ...what };
    },
    say(body: Partial<Heartbeat["body"]>, id = amphoraId) {
      const whole = { revision: 1, digest: "", load: 0, ...body };
      health.heard({ amphoraId: id, sequence: 1n, time: Date.now(), body: whole });
    },
    async statuses() {
      return {
        lb: (await findRow(store.db, loadBalancer, ids.lb))?.operating_status,
        listener: (await findRow(store.db, listener, ids.listener))?.operating_status,
        pool: (await findRow(store.db, pool, ids.pool))?.operating_status,
        member: (await findRow(store.db, member, ids.member))?.operating_status,
        monitor: (await findRow(store.db, healthMonitor, ids.monitor))?.operating_status,
      };
    },
  };
}

async function populate(store: Store, given: Partial<LoadBalancer>) {
  const lb = aLoadBalancer(given);
  const itsPool = aPool(lb);
  const itsListener = aListener(lb, { default_pool_id: itsPool.id });
  const itsMember = aMember(itsPool);
  const itsMonitor = aHealthMonitor(itsPool);
  const itsAmphora = anAmphora(lb, { lb_network_ip: "127.0.0.1" });
  await insertAll(store, loadBalancer, lb);
  await insertAll(store, pool, itsPool);
  await insertAll(store, listener, itsListener);
  await insertAll(store, member, itsMember);
  await insertAll(store, healthMonitor, itsMonitor);
  await insertAll(store, amphora, itsAmphora);
  const parts = { listener: itsListener.id, pool: itsPool.id, member: itsMember.id, monitor: itsMonitor.id };
  return { lb: lb.id, ...parts, amphoraId: itsAmphora.id };
}
