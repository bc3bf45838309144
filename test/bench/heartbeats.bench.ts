/**
 * Heartbeats of 10,000 amphorae with 5 listeners each, as real datagrams from another process, into the real receiver
 * and the real Health with a real store. Their agents are the one thing that is not real: health reports (5 pools x 20
 * members) come from a stand-in in this process, after a few ms. Only load balancers whose health changes have their
 * members in the store.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "kysely";
import pino from "pino";
import type { HealthReport } from "../../agent/protocol.ts";
import { Health } from "../../controller/health/health.ts";
import { HeartbeatReceiver } from "../../controller/health/receiver.ts";
import { amphora } from "../../controller/model/amphora.ts";
import { listener } from "../../controller/model/listener.ts";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import { member } from "../../controller/model/member.ts";
import { pool } from "../../controller/model/pool.ts";
import type { Resource } from "../../controller/model/resource.ts";
import type { Store } from "../../controller/store/database.ts";
import { columnsOf, untyped } from "../../controller/store/rows.ts";
import { Settling } from "../../controller/store/settling.ts";
import { healthLimits } from "../support/health.ts";
import { databases } from "../support/postgres.ts";
import { withScope } from "../support/scope.ts";
import { aListener, aLoadBalancer, aMember, anAmphora, aPool, insertAll } from "../support/tree.ts";
import { print } from "./figures.ts";

const AMPHORAE = 10_000;
/** Whose load balancers are made with all their members: their health may change. */
const TELLABLE = 100;
const LISTENERS = 5;
const MEMBERS = 20;
const INTERVAL = 3000;
const PORT = 5555;
const KEY = "00".repeat(32);
const SECONDS = 8;
/** as long as all of them take to be known, and their reports to be fetched */
const FIRST_SECONDS = 30;

/** What the sender is told to do. */
export interface Order {
  readonly ids: readonly string[];
  readonly listeners: readonly string[][];
  readonly key: string;
  readonly port: number;
  /** the first of them may have news */
  readonly tellable: number;
  readonly newsPerSecond: number;
  readonly flood: boolean;
  /** how many datagrams per second; in a flood, how many at all */
  readonly perSecond: number;
  readonly seconds: number;
}
export interface Said {
  readonly sent: number;
  readonly seconds: number;
}
interface News {
  readonly index: number;
  readonly at: number;
}

/** The rows of all of them. The first load balancers are made in full; others are copies, made by the database. */
async function populate(store: Store): Promise<{ ids: string[]; listeners: string[][]; reports: HealthReport[] }> {
  const ids: string[] = [];
  const listeners: string[][] = [];
  const reports: HealthReport[] = [];
  for (let i = 0; i < TELLABLE; i++) {
    const lb = aLoadBalancer({ revision: 1 });
    const pools = Array.from({ length: LISTENERS }, () => aPool(lb));
    const own = pools.map(({ id }, n) => aListener(lb, { protocol_port: 80 + n, default_pool_id: id }));
    const members = pools.map((each) =>
      Array.from({ length: MEMBERS }, (_, n) => aMember(each, { address: `10.0.0.${n}` })),
    );
    const itsAmphora = anAmphora(lb, { heartbeat_key: KEY });
    await insertAll(store, loadBalancer, lb);
    await insertAll(store, pool, ...pools);
    await insertAll(store, listener, ...own);
    await insertAll(store, member, ...members.flat());
    await insertAll(store, amphora, itsAmphora);
    ids.push(itsAmphora.id);
    listeners.push(own.map(({ id }) => id));
    reports.push({
      revision: 1,
      listeners: Object.fromEntries(own.map(({ id }) => [id, "OPEN"])),
      pools: Object.fromEntries(
        pools.map(({ id }, n) => [id, Object.fromEntries((members[n] ?? []).map((each) => [each.id, "UP"]))]),
      ),
    });
  }
  const copies = AMPHORAE / TELLABLE - 1;
  await copy(store, loadBalancer, copies, ["id"]);
  await copy(store, listener, copies, ["id", "loadbalancer_id"]);
  await copy(store, amphora, copies, ["id", "loadbalancer_id"]);
  for (let n = 1; n <= copies; n++) {
    for (let i = 0; i < TELLABLE; i++) {
      ids.push(copied(ids[i] ?? "", n));
      listeners.push((listeners[i] ?? []).map((id) => copied(id, n)));
    }
  }
  return { ids, listeners, reports };
}

const copied = (id: string, n: number) => `${10_000_000 + n}${id.slice(8)}`;

async function copy(store: Store, resource: Resource, times: number, ids: readonly string[]): Promise<void> {
  const columns = columnsOf(resource);
  const values = columns.map((name) =>
    ids.includes(name) ? sql`cast(10000000 + n.i as text) || substr(${sql.ref(`t.${name}`)}, 9)` : sql.ref(`t.${name}`),
  );
  await sql`
    with recursive n(i) as (select 1 union all select i + 1 from n where i < ${sql.lit(times)})
    insert into ${sql.table(resource.table)} (${sql.join(columns.map((name) => sql.ref(name)))})
    select ${sql.join(values)} from ${sql.table(resource.table)} as t cross join n`.execute(store.db);
}

async function run(name: "SQLite" | "PostgreSQL", scope: { teardown: (cleanup: () => unknown) => void }) {
  const database = databases(scope).find((each) => each.name === name);
  if (database === undefined) throw new Error(`there is no ${name}`);
  let writes = 0;
  const store = await database.open(scope, {
    onQuery: (statement) => {
      if (/^\s*(with|insert|update|delete)/i.test(statement)) writes++;
    },
  });
  const { ids, listeners, reports } = await populate(store);
  const index = new Map(ids.map((id, i) => [id, i]));
  const down = new Set<number>();
  let fetched = 0;
  const receiver: HeartbeatReceiver = new HeartbeatReceiver({
    address: "127.0.0.1",
    port: PORT,
    keysOf: (some) => health.keysOf(some),
    onHeartbeat: (heartbeat) => health.heard(heartbeat),
    mostRecent: 10_000 - 2.2 * INTERVAL,
    log: pino({ level: "error" }),
  });
  const health = new Health({
    store,
    settling: new Settling(),
    ...healthLimits(INTERVAL),
    silence: 10_000,
    arrivals: () => receiver.arrivals(),
    onZombie: () => undefined,
    client: {
      async health({ amphoraId }) {
        fetched++;
        await sleep(3);
        const i = index.get(amphoraId) ?? 0;
        const report = reports[i];
        if (report === undefined)
          return {
            revision: 1,
            listeners: Object.fromEntries((listeners[i] ?? []).map((id) => [id, "OPEN" as const])),
            pools: {},
          };
        return down.has(i)
          ? { ...report, listeners: { ...report.listeners, [listeners[i]?.[0] ?? ""]: "DOWN" } }
          : report;
      },
      async info() {
        throw new Error("nobody should have to be asked");
      },
      async stats() {
        throw new Error("their counters fit");
      },
    },
    log: pino({ level: "error" }),
  });
  await health.start();
  scope.teardown(() => health.stop());
  await receiver.start();
  scope.teardown(() => receiver.stop());

  const sender = fork(join(import.meta.dirname, "heartbeat-sender.ts"), { serialization: "advanced" });
  scope.teardown(() => sender.kill());
  await once(sender, "message");
  const order: Order = {
    ids,
    listeners,
    key: KEY,
    port: PORT,
    tellable: TELLABLE,
    newsPerSecond: 0,
    flood: false,
    perSecond: (AMPHORAE / INTERVAL) * 1000,
    seconds: SECONDS,
  };

  const measured = async (what: string, given: Partial<Order>, onNews: (news: News) => void = () => undefined) => {
    const lost = await receiver.lost();
    const { believed, shed } = receiver;
    const written = writes;
    const before = process.cpuUsage();
    const started = performance.now();
    const { sent } = await tell(sender, { ...order, ...given }, onNews);
    await sleep(300);
    const { user, system } = process.cpuUsage(before);
    const seconds = (performance.now() - started) / 1000;
    const cpu = (user + system) / 1000;
    const heard = receiver.believed - believed;
    const figures = [
      `sent ${(sent / seconds).toFixed(0)}/s`,
      `believed ${(heard / seconds).toFixed(0)}/s`,
      `shed ${receiver.shed - shed}`,
      `lost ${(await receiver.lost()) - lost}`,
      `CPU ${(cpu / heard).toFixed(3)} ms each, ${(cpu / seconds / 10).toFixed(0)} % of a core`,
      `${((writes - written) / seconds).toFixed(1)} writing statements/s`,
    ];
    console.log(`  ${`${name}: ${what}`.padEnd(52)} ${figures.join("   ")}`);
    if (health.silence.silent > 0) console.log(`  ${health.silence.silent} seem SILENT`);
  };

  const started = performance.now();
  const first = tell(sender, { ...order, seconds: FIRST_SECONDS }, () => undefined);
  while (fetched < AMPHORAE && performance.now() - started < FIRST_SECONDS * 1000) await sleep(50);
  const elapsed = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`  ${name}: all of them new: ${fetched} reports were taken in after ${elapsed} s`);
  await first;
  // what they told is written by then
  for (let before = -1; writes - before > 100; ) {
    before = writes;
    await tell(sender, { ...order, seconds: 5 }, () => undefined);
  }
  console.log(`  ${name}: all of it was in the store after ${((performance.now() - started) / 1000).toFixed(1)} s`);
  await measured(`10,000 amphorae, one each ${INTERVAL / 1000} s (peer 43/s, 30 ms)`, {});
  const times: number[] = [];
  const pending = new Map<string, { at: number; wanted: string }>();
  const lbOf = new Map(
    (
      await untyped(store.db)
        .selectFrom("amphorae")
        .select(["id", "loadbalancer_id"])
        .where("id", "in", ids.slice(0, TELLABLE))
        .execute()
    ).map((row) => [String(row.id), String(row.loadbalancer_id)]),
  );
  let watching = true;
  const watch = (async () => {
    while (watching || pending.size > 0) {
      const rows = await store.db
        .selectFrom("load_balancers")
        .select(["id", "operating_status"])
        .where("id", "in", [...lbOf.values()])
        .execute();
      for (const { id, operating_status } of rows) {
        const one = pending.get(id);
        if (one === undefined || one.wanted !== operating_status) continue;
        times.push(Date.now() - one.at);
        pending.delete(id);
      }
      await sleep(20);
    }
  })();
  await measured("the same, and news of 5 of them each second", { newsPerSecond: 5 }, ({ index: i, at }) => {
    if (!down.delete(i)) down.add(i);
    pending.set(lbOf.get(ids[i] ?? "") ?? "", { at, wanted: down.has(i) ? "ERROR" : "ONLINE" });
  });
  watching = false;
  await watch;
  print(`${name}: from the datagram to the status in the store`, times);
  await measured("as many as can be sent", { flood: true, perSecond: 40_000 });
}

function tell(sender: ChildProcess, order: Order, onNews: (news: News) => void): Promise<Said> {
  return new Promise((resolve) => {
    const listen = (message: News | Said) => {
      if ("index" in message) {
        onNews(message);
        return;
      }
      sender.off("message", listen);
      resolve(message);
    };
    sender.on("message", listen);
    sender.send(order);
  });
}

for (const name of ["SQLite", "PostgreSQL"] as const) {
  await withScope((scope) => run(name, scope));
}
