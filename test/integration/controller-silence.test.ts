/** Amphorae that fall silent: suspected, confirmed, replaced; and not when many do so at once. */
import pino from "pino";
import t, { type Test } from "tap";
import type { AgentInfo, HealthReport } from "../../agent/protocol.ts";
import { Registry } from "../../controller/health/registry.ts";
import { SilenceWatch } from "../../controller/health/silence.ts";
import { type Amphora, amphora } from "../../controller/model/amphora.ts";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import { findRow, updateRow } from "../../controller/store/rows.ts";
import { Settling } from "../../controller/store/settling.ts";
import { databases, type TestDatabase } from "../support/postgres.ts";
import { aLoadBalancer, anAmphora, insertAll } from "../support/tree.ts";

const SILENCE = 10_000;
const INTERVAL = 1000;

for (const database of databases(t)) {
  t.test(`${database.name}: one that is silent and does not answer is replaced, and only that one`, async (t) => {
    const { watch, all, silent, replaced } = await watching(t, database, 10);
    await round(watch);
    t.strictSame(await replaced(), []);
    silent(3, SILENCE + 100);
    await round(watch);
    t.strictSame(await replaced(), [], "suspected, but others may follow");
    t.equal(watch.state.silent, 1);
    silent(3, SILENCE + 2 * INTERVAL);
    await round(watch);
    t.strictSame(await replaced(), [all[3]?.id]);
    await round(watch);
    t.equal(watch.state.replaced, 1, "once");
  });

  t.test(`${database.name}: its load balancer is due, and says why`, async (t) => {
    const { watch, all, silent, store, woken } = await watching(t, database, 10);
    silent(0, 60_000);
    await round(watch);
    const row = await findRow(store.db, loadBalancer, all[0]?.loadbalancer_id ?? "");
    t.ok((row?.due_at ?? Infinity) <= Date.now());
    t.match(row?.status_reason, new RegExp(`amphora ${all[0]?.id} has been silent for 6\\d s`));
    t.equal(row?.provisioning_status, "ACTIVE", "nobody has asked for a change");
    t.equal(woken(), 1);
  });

  t.test(`${database.name}: one that answers when asked is left alone`, async (t) => {
    const { watch, all, silent, replaced, alive } = await watching(t, database, 10);
    alive.add(all[4]?.id ?? "");
    silent(4, 60_000);
    await round(watch);
    t.strictSame(await replaced(), []);
    t.match(watch.state, { found: 1, replaced: 0 });
    await round(watch);
    t.equal(watch.state.found, 1, "and not asked again before the limit");
  });

  t.test(`${database.name}: many at once are not replaced, and the few that stay silent are`, async (t) => {
    const { watch, all, silent, heard, replaced, lines } = await watching(t, database, 100);
    for (let i = 0; i < 60; i++) silent(i, 60_000);
    await round(watch);
    await round(watch);
    t.strictSame(await replaced(), []);
    t.match(watch.state, { amphorae: 100, silent: 60, holdingBack: true });
    t.equal(lines.filter((line) => line.includes("none is replaced")).length, 1, "said once");
    for (let i = 2; i < 60; i++) heard(i);
    await round(watch);
    t.match(watch.state, { holdingBack: false });
    t.strictSame(await replaced(), [all[0]?.id, all[1]?.id].sort());
  });

  t.test(`${database.name}: a few of few are replaced: a share alone does not hold back`, async (t) => {
    const { watch, silent, replaced } = await watching(t, database, 3);
    for (let i = 0; i < 3; i++) silent(i, 60_000);
    await round(watch);
    t.equal((await replaced()).length, 3);
  });

  t.test(`${database.name}: only so many are replaced at a time, the longest silent first`, async (t) => {
    const { watch, all, silent, store, replaced, lines } = await watching(t, database, 100);
    for (let i = 0; i < 8; i++) silent(i, 60_000 + i * 1000);
    await round(watch);
    t.strictSame(await replaced(), [4, 5, 6, 7].map((i) => all[i]?.id).sort());
    await round(watch);
    t.equal((await replaced()).length, 4, "no more while those are not done");
    t.equal(watch.state.full, true);
    t.equal(lines.filter((line) => line.includes("silent ones wait")).length, 1, "said once");
    await store.db
      .deleteFrom("amphorae")
      .where("id", "=", all[7]?.id ?? "")
      .execute();
    await round(watch);
    t.strictSame(await replaced(), [3, 4, 5, 6].map((i) => all[i]?.id).sort());
  });

  t.test(`${database.name}: amphorae that never came up keep no others from being replaced`, async (t) => {
    const { watch, all, silent, store, replaced } = await watching(t, database, 10);
    const [first] = all;
    if (first === undefined) throw new Error("there is none");
    const failed = { status: "ERROR", retiring: true, revision: 0 } as const;
    const lb = { ...aLoadBalancer(), id: first.loadbalancer_id };
    await insertAll(store, amphora, ...Array.from({ length: 4 }, () => anAmphora(lb, failed)));
    silent(3, 60_000);
    await round(watch);
    t.equal((await replaced()).includes(all[3]?.id ?? ""), true);
    t.equal(watch.state.full, false);
  });

  t.test(`${database.name}: one whose VRRP peer sees it serve is in no hurry to be replaced`, async (t) => {
    const { watch, all, silent, store, replaced, reports } = await watching(t, database, 10);
    const [master, backup] = all;
    if (master === undefined || backup === undefined) throw new Error("there is no pair");
    await updateRow(store.db, amphora, master.id, { vrrp_id: 1 });
    await updateRow(store.db, amphora, backup.id, { loadbalancer_id: master.loadbalancer_id });
    const seen: HealthReport = { revision: 1, listeners: {}, pools: {}, vrrp: { state: "BACKUP" } };
    reports.set(backup.id, seen);
    silent(0, 60_000);
    await round(watch);
    t.strictSame(await replaced(), []);
    reports.set(backup.id, { ...seen, vrrp: { state: "MASTER" } });
    await round(watch);
    t.strictSame(await replaced(), [master.id], "the peer has taken over");
  });

  t.test(`${database.name}: one that nobody can reach for long is replaced though its peer sees it`, async (t) => {
    const { watch, all, silent, store, replaced, reports } = await watching(t, database, 10);
    const [master, backup] = all;
    if (master === undefined || backup === undefined) throw new Error("there is no pair");
    await updateRow(store.db, amphora, master.id, { vrrp_id: 1 });
    await updateRow(store.db, amphora, backup.id, { loadbalancer_id: master.loadbalancer_id });
    reports.set(backup.id, { revision: 1, listeners: {}, pools: {}, vrrp: { state: "BACKUP" } });
    silent(0, 10 * SILENCE + 1000);
    await round(watch);
    t.strictSame(await replaced(), [master.id]);
  });

  t.test(`${database.name}: one that another controller hears is left alone`, async (t) => {
    const { watch, another, silent, replaced, suspected, all } = await watching(t, database, 10, 2);
    const other = another();
    other.heard(3);
    for (let i = 0; i < 6; i++) {
      silent(3, 60_000);
      await round(watch);
      await round(other.watch);
    }
    t.strictSame(await replaced(), []);
    t.strictSame(await suspected(), [], "the other has cleared it each time");
    other.silent(3, 60_000);
    for (let i = 0; i < 2; i++) {
      silent(3, 60_000);
      await round(watch);
      await round(other.watch);
      t.strictSame(await suspected(), [all[3]?.id]);
      t.strictSame(await replaced(), []);
    }
    await round(watch);
    t.strictSame(await replaced(), [all[3]?.id], "nobody hears it any more");
    await round(other.watch);
    t.equal(watch.state.replaced + other.watch.state.replaced, 1, "once");
  });

  t.test(`${database.name}: a controller that has not heard of it yet clears nothing`, async (t) => {
    const { watch, another, silent, replaced, all } = await watching(t, database, 10, 1);
    const other = another();
    silent(3, 60_000);
    await round(watch);
    await round(other.watch);
    await round(watch);
    t.strictSame(await replaced(), [all[3]?.id]);
  });

  t.test(`${database.name}: what boots, goes, or is gone is nobody to be missed`, async (t) => {
    const { watch, all, silent, store, replaced } = await watching(t, database, 10);
    await updateRow(store.db, amphora, all[0]?.id ?? "", { status: "BOOTING" });
    await updateRow(store.db, loadBalancer, all[1]?.loadbalancer_id ?? "", { doomed: true });
    await store.db
      .deleteFrom("amphorae")
      .where("id", "=", all[2]?.id ?? "")
      .execute();
    for (let i = 0; i < 3; i++) silent(i, 60_000);
    await round(watch);
    t.strictSame(await replaced(), []);
  });
}

async function round(watch: SilenceWatch): Promise<void> {
  await watch.look();
  await watch.act();
}

/**
 * A watch over so many load balancers of one amphora each, all of which have just been heard of.
 * @param rounds for so many all controllers must miss one
 */
async function watching(t: Test, database: TestDatabase, count: number, rounds = 0) {
  const store = await database.open(t);
  const lbs = Array.from({ length: count }, () => aLoadBalancer());
  const all = lbs.map((lb) => anAmphora(lb));
  await insertAll(store, loadBalancer, ...lbs);
  await insertAll(store, amphora, ...all);
  const settling = new Settling();
  let woken = 0;
  settling.onWork(() => woken++);
  const alive = new Set<string>();
  const reports = new Map<string, HealthReport>();
  const lines: string[] = [];
  const another = () => {
    const registry = new Registry();
    for (const { id, loadbalancer_id } of all) registry.expect(id, loadbalancer_id);
    const watch = new SilenceWatch({
      store,
      settling,
      registry,
      heartbeatIntervalMs: INTERVAL,
      silence: SILENCE,
      rounds,
      onFound: () => undefined,
      holdCount: 5,
      holdShare: 0.3,
      concurrency: 4,
      client: {
        async info({ amphoraId }): Promise<AgentInfo> {
          if (!alive.has(amphoraId)) throw new Error("no answer");
          return { amphora_id: amphoraId, revision: 1, versions: {}, capabilities: {}, host: HOST };
        },
        async health({ amphoraId }) {
          const report = reports.get(amphoraId);
          if (report === undefined) throw new Error("no answer");
          return report;
        },
      },
      log: pino({ level: "warn" }, { write: (line) => lines.push(line) }),
    });
    return {
      watch,
      silent: (i: number, ms: number) => {
        const seen = registry.get(all[i]?.id ?? "");
        if (seen !== undefined) seen.at = Date.now() - ms;
      },
      heard: (i: number) => {
        registry.heard(all[i]?.id ?? "").spoke = true;
      },
    };
  };
  const ids = (rows: Pick<Amphora, "id">[]) => rows.map(({ id }) => id).sort();
  const amphorae = () => store.db.selectFrom("amphorae").select("id");
  return {
    ...another(),
    another,
    store,
    all,
    alive,
    reports,
    lines,
    woken: () => woken,
    /** ids of those that are to be replaced */
    replaced: async () => ids(await amphorae().where("retiring", "=", true).where("status", "=", "ERROR").execute()),
    /** ids of those whose silence is on record */
    suspected: async () => ids(await amphorae().where("suspected_at", "is not", null).execute()),
  };
}

const HOST = { load: [0, 0, 0], cpus: 1, memory: { total: 1, available: 1 }, uptime: 1 };
