import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { execa } from "execa";
import pg from "pg";
import t from "tap";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import { Store, StoreError } from "../../controller/store/database.ts";
import { deploymentId, readFact, writeFact } from "../../controller/store/deployment.ts";
import { findRow, insertRow, untyped } from "../../controller/store/rows.ts";
import { until } from "../support/deployment.ts";
import { databases } from "../support/postgres.ts";
import { aLoadBalancer, insertAll } from "../support/tree.ts";

/** A program of its own that opens a database and says which deployment it is. */
const OPEN = `
  import { Store } from ${JSON.stringify(import.meta.resolve("../../controller/store/database.ts"))};
  import { deploymentId } from ${JSON.stringify(import.meta.resolve("../../controller/store/deployment.ts"))};
  const store = await Store.open(process.argv[1]);
  console.log(await deploymentId(store));
  await store.close();
`;

for (const database of databases(t)) {
  t.test(`${database.name}: a database opened again holds what was written`, async (t) => {
    const location = await database.create(t);
    const row = aLoadBalancer();
    for (let times = 0; times < 3; times++) {
      const store = await Store.open(location);
      if (times === 0) await insertAll(store, loadBalancer, row);
      t.strictSame({ ...(await findRow(store.db, loadBalancer, row.id)) }, row);
      await store.close();
    }
  });

  t.test(`${database.name}: programs that open a fresh database at once bring it up to date once`, async (t) => {
    const location = await database.create(t);
    const programs = Array.from({ length: 4 }, () =>
      execa(process.execPath, ["--input-type=module", "--eval", OPEN, location], {
        timeout: 60_000,
        // the test runner hooks into every Node process that it can
        env: { NODE_OPTIONS: "" },
      }),
    );
    const deployments = (await Promise.all(programs)).map(({ stdout }) => stdout);
    t.match(deployments[0], /^[0-9a-f]{4}$/);
    t.equal(new Set(deployments).size, 1, "and all see the same deployment");
  });

  t.test(`${database.name}: a database made by a newer version is refused, and left as it is`, async (t) => {
    const location = await database.create(t);
    const store = await Store.open(location);
    await store.db.insertInto("migrations").values({ name: "999-from-the-future" }).execute();
    await store.close();
    await t.rejects(Store.open(location), {
      constructor: StoreError,
      message: /made by a newer version of amphora-controller.*999-from-the-future/,
    });
  });

  t.test(`${database.name}: an update of the tables that fails half-way leaves nothing behind`, async (t) => {
    const location = await database.create(t);
    // stands in the way of the last but one
    await execute(location, "create table listener_statistics (id text)");
    await t.rejects(Store.open(location), { constructor: StoreError, message: /listener_statistics.*already exists/ });
    await execute(location, "drop table listener_statistics");
    const store = await Store.open(location);
    await store.close();
  });

  t.test(`${database.name}: a transaction that fails leaves nothing behind`, async (t) => {
    const store = await database.open(t);
    const row = aLoadBalancer();
    const failing = store.transaction(async (trx) => {
      await insertRow(trx, loadBalancer, row);
      throw new Error("after all not");
    });
    await t.rejects(failing, new Error("after all not"));
    t.equal(await findRow(store.db, loadBalancer, row.id), undefined);
  });

  t.test(`${database.name}: a snapshot sees one moment, whatever is written meanwhile`, async (t) => {
    const location = await database.create(t);
    const store = await Store.open(location);
    t.teardown(() => store.close());
    const row = aLoadBalancer({ name: "before" });
    await insertAll(store, loadBalancer, row);
    const change = () => untyped(store.db).updateTable("load_balancers").set({ name: "after" }).execute();
    let changed = Promise.resolve<unknown>(undefined);
    await store.snapshot(async (trx) => {
      t.equal((await findRow(trx, loadBalancer, row.id))?.name, "before");
      changed = change();
      if (database.name === "PostgreSQL") await changed;
      t.equal((await findRow(trx, loadBalancer, row.id))?.name, "before");
    });
    await changed;
    t.equal((await findRow(store.db, loadBalancer, row.id))?.name, "after");
  });

  t.test(`${database.name}: facts are kept, and the last one written counts`, async (t) => {
    const store = await database.open(t);
    t.equal(await readFact(store, "colour"), null);
    await writeFact(store, "colour", "red");
    await writeFact(store, "colour", "it's blue");
    t.equal(await readFact(store, "colour"), "it's blue");
    const ids = await Promise.all(Array.from({ length: 5 }, () => deploymentId(store)));
    t.equal(new Set(ids).size, 1);
  });

  if (database.name === "PostgreSQL") {
    t.test("PostgreSQL: a store outlives the loss of its connections", async (t) => {
      const location = await database.create(t);
      const store = await Store.open(location);
      t.teardown(() => store.close());
      const id = await deploymentId(store);
      const others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
      await execute(location, `select pg_terminate_backend(pid) ${others}`);
      // a query that meets the loss may fail; none after it does
      await until("the store works", () =>
        deploymentId(store).then(
          (now) => now === id,
          () => false,
        ),
      );
      for (let times = 0; times < 20; times++) t.equal(await deploymentId(store), id);
    });
  }
}

t.test("a database that can't be opened is named, without its password", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "amphora-store-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const locations = [
    dir,
    join(dir, "missing/amphora.db"),
    "postgresql://user:s3cret@127.0.0.1:1/amphora",
    "postgresql://user:s3%2Fcret@127.0.0.1:1/amphora",
    `postgresql:///amphora?host=${dir}&user=user&password=s3cret`,
  ];
  for (const location of locations) {
    const error = await Store.open(location).then(
      () => null,
      (error: unknown) => error,
    );
    t.type(error, StoreError);
    const message = String(error);
    t.ok(message.includes(location.slice(0, 13)), message);
    t.match(message, /unable to open|ECONNREFUSED|ENOENT/);
    t.notMatch(message, /s3/);
  }
});

/** Carries a statement out on a database that no store has opened. */
async function execute(location: string, statement: string): Promise<void> {
  if (!location.startsWith("postgresql:")) {
    const file = new DatabaseSync(location);
    file.exec(statement);
    return file.close();
  }
  const client = new pg.Client({ connectionString: location });
  await client.connect();
  await client.query(statement);
  return client.end();
}
