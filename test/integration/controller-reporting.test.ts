/** Controllers tell that they are there, and amphorae are told where heartbeats go. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import t, { type Test } from "tap";
import type { Reporting } from "../../agent/protocol.ts";
import type { SilenceState } from "../../controller/health/silence.ts";
import { amphora } from "../../controller/model/amphora.ts";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import { Presence } from "../../controller/presence.ts";
import { ReportingWatch, UnheardError } from "../../controller/reconcile/reporting.ts";
import { listControllers, stateOf } from "../../controller/store/controllers.ts";
import { updateRow } from "../../controller/store/rows.ts";
import { databases, type TestDatabase } from "../support/postgres.ts";
import { aLoadBalancer, anAmphora, insertAll } from "../support/tree.ts";

const log = pino({ level: "silent" });
const QUIET: SilenceState = { amphorae: 3, silent: 0, holdingBack: false, full: false, replaced: 0, found: 0 };

for (const database of databases(t)) {
  t.test(
    `${database.name}: a controller says what it is, and that it has stopped; it is the same after a restart`,
    async (t) => {
      const { store, presence } = await scene(t, database);
      const one = presence({ name: "one" });
      await one.start();
      const [row] = await listControllers(store);
      if (row === undefined) throw new Error("there is no row");
      t.match(row, {
        roles: "api,health",
        heartbeat_address: "10.0.0.1",
        heartbeat_port: 5555,
        amphorae: 3,
        state: "UP",
      });
      t.equal(stateOf(row), "UP");
      t.equal(stateOf({ ...row, seen_at: Date.now() - 20_000 }), "LOST");
      await one.stop();
      t.strictSame((await listControllers(store)).map(stateOf), ["STOPPED"]);
      const again = presence({ name: "one", silence: { ...QUIET, holdingBack: true } });
      await again.start();
      t.strictSame(
        (await listControllers(store)).map(({ id }) => id),
        [row.id],
      );
      t.strictSame((await listControllers(store)).map(stateOf), ["HOLDING_BACK"]);
    },
  );

  t.test(`${database.name}: one that has not been seen for a day is forgotten by the others`, async (t) => {
    const { store, presence } = await scene(t, database);
    const [one, two] = [presence({ name: "one" }), presence({ name: "two" })];
    await one.start();
    await one.stop();
    await store.db
      .updateTable("controllers")
      .set({ seen_at: Date.now() - 25 * 3600 * 1000 })
      .execute();
    await two.start();
    t.equal((await listControllers(store)).length, 1);
  });

  t.test(`${database.name}: amphorae are told of all that receive heartbeats, and once`, async (t) => {
    const { store, presence, watch, told, away, all } = await scene(t, database);
    await t.rejects(watch.wanted(), UnheardError);
    await watch.tell();
    t.strictSame(told, [], "there is nobody to be told of");
    await presence({ name: "one" }).start();
    await presence({ name: "two", address: "10.0.0.2" }).start();
    await presence({ name: "three", address: null }).start();
    const [first, second, booting] = all;
    if (first === undefined || second === undefined || booting === undefined) throw new Error("there are no amphorae");
    await updateRow(store.db, amphora, booting.id, { status: "BOOTING" });
    away.add(second.id);
    await watch.tell();
    t.strictSame(
      told.map(([id]) => id),
      [first.id],
    );
    const { controllers, heartbeat_interval_ms } = told[0]?.[1] ?? { controllers: [] };
    t.strictSame(controllers.map(({ address }) => address).sort(), ["10.0.0.1", "10.0.0.2"]);
    t.equal(heartbeat_interval_ms, 3000);
    away.clear();
    await watch.tell();
    await watch.tell();
    t.strictSame(told.map(([id]) => id).sort(), [first.id, second.id].sort());
  });
}

async function scene(t: Test, database: TestDatabase) {
  const store = await database.open(t);
  const dir = await mkdtemp(join(tmpdir(), "amphora-presence-"));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const lbs = Array.from({ length: 3 }, () => aLoadBalancer());
  const all = lbs.map((lb) => anAmphora(lb));
  await insertAll(store, loadBalancer, ...lbs);
  await insertAll(store, amphora, ...all);
  const told: [string, Reporting][] = [];
  const away = new Set<string>();
  const watch = new ReportingWatch({
    store,
    heartbeatIntervalMs: 3000,
    client: {
      async putReporting({ amphoraId }, wanted) {
        if (away.has(amphoraId)) throw new Error("no answer");
        told.push([amphoraId, wanted]);
      },
    },
    log,
  });
  const presence = (of: { name: string; address?: string | null; silence?: SilenceState }) => {
    const { name, address = "10.0.0.1", silence = QUIET } = of;
    const made = new Presence({
      store,
      idFile: join(dir, name),
      roles: "api,health",
      heartbeats: address === null ? null : { address, port: 5555 },
      silence: () => silence,
      log,
    });
    t.teardown(() => made.stop());
    return made;
  };
  return { store, all, watch, told, away, presence };
}
