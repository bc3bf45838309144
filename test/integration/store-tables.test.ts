import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import type { Attribute, Column } from "../../controller/model/attribute.ts";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import type { Resource } from "../../controller/model/resource.ts";
import { RESOURCES } from "../../controller/model/resources.ts";
import { Store } from "../../controller/store/database.ts";
import { columnsOf, findRow, insertRow, newRow, updateRow } from "../../controller/store/rows.ts";
import { databases } from "../support/postgres.ts";
import { aLoadBalancer, insertAll } from "../support/tree.ts";

/** What the databases call the types of columns. */
const KINDS: Readonly<Record<string, Column>> = {
  text: "text",
  integer: "integer",
  int4: "integer",
  bigint: "integer",
  int8: "integer",
  "double precision": "real",
  float8: "real",
  boolean: "boolean",
  bool: "boolean",
  jsonb: "json",
};

for (const database of databases(t)) {
  t.test(`${database.name}: a table holds exactly the columns that its resource declares`, async (t) => {
    const store = await database.open(t);
    const tables = await store.db.introspection.getTables();
    for (const resource of RESOURCES) {
      const columns = tables.find(({ name }) => name === resource.table)?.columns ?? [];
      const found = columns.map(({ name, dataType, isNullable }) => {
        const kind = KINDS[dataType.toLowerCase()];
        // SQLite keeps JSON as text, and takes every primary key but a number's for one that may be null
        const declared = resource.attributes[name]?.column === "json" && kind === "text" ? "json" : kind;
        return [name, { kind: declared, null: isNullable && name !== resource.key }];
      });
      const declared = Object.entries(resource.attributes)
        .filter(([, { column }]) => column !== null)
        .map(([name, { column, nullable }]) => [name, { kind: column, null: nullable }]);
      t.strictSame(Object.fromEntries(found.sort()), Object.fromEntries(declared.sort()), resource.table);
    }
  });

  t.test(`${database.name}: every attribute of every resource reads back as it was written`, async (t) => {
    const store = await database.open(t);
    const wide = await wideColumns(store);
    const rows = fc.tuple(...RESOURCES.map((resource) => fc.tuple(aRow(resource, wide), aRow(resource, wide))));
    await fc.assert(
      fc.asyncProperty(rows, async (generated) => {
        const ids: Record<string, string> = {};
        for (const [i, [first, second]] of generated.entries()) {
          const resource = resourceAt(i);
          const id = randomUUID();
          const related = { [resource.key]: id, ...relations(resource, ids) };
          ids[resource.table] = id;
          const row = newRow(resource, { ...first, ...related });
          await store.transaction((trx) => insertRow(trx, resource, row));
          assert.deepStrictEqual({ ...(await findRow(store.db, resource, id)) }, row);
          const changed = { ...second, ...related };
          await updateRow(store.db, resource, id, changed);
          assert.deepStrictEqual({ ...(await findRow(store.db, resource, id)) }, { ...row, ...changed });
        }
      }),
      { numRuns: 40 },
    );
  });

  t.test(`${database.name}: a change of one attribute leaves the others, and other rows, alone`, async (t) => {
    const store = await database.open(t);
    const [one, two] = [aLoadBalancer(), aLoadBalancer()];
    await insertAll(store, loadBalancer, one, two);
    await updateRow(store.db, loadBalancer, one.id, { name: 'it\'s "new"' });
    t.strictSame({ ...(await findRow(store.db, loadBalancer, one.id)) }, { ...one, name: 'it\'s "new"' });
    t.strictSame({ ...(await findRow(store.db, loadBalancer, two.id)) }, two);
    await updateRow(store.db, loadBalancer, two.id, {});
    t.strictSame({ ...(await findRow(store.db, loadBalancer, two.id)) }, two, "a change of nothing changes nothing");
  });

  t.test(`${database.name}: there is no row of an id that nobody gave`, async (t) => {
    const store = await database.open(t);
    for (const id of [randomUUID(), "", "'", "x".repeat(10_000)]) {
      for (const resource of RESOURCES) t.equal(await findRow(store.db, resource, id), undefined);
    }
  });
}

t.test("a new row needs every attribute that has no default", async (t) => {
  t.throws(() => newRow(loadBalancer, {}), new TypeError("load_balancers.id has no value"));
  t.throws(
    () => newRow(loadBalancer, { id: randomUUID() }),
    new TypeError("load_balancers.provisioning_status has no value"),
  );
});

t.test("what is no column can't be written", async (t) => {
  const store = await Store.open(":memory:");
  t.teardown(() => store.close());
  const row = { ...aLoadBalancer(), listeners: [] };
  await t.rejects(
    store.transaction((trx) => insertRow(trx, loadBalancer, row)),
    new TypeError("load_balancers has no column listeners"),
  );
});

function resourceAt(i: number): Resource {
  const resource = RESOURCES[i];
  if (resource === undefined) throw new RangeError(`there is no resource ${i}`);
  return resource;
}

/** What a row of the resource can't have any value for: the rows it refers to, and what is unique. */
function relations(resource: Resource, ids: Readonly<Record<string, string>>): Record<string, string | undefined> {
  const known = {
    loadbalancer_id: ids.load_balancers,
    pool_id: ids.pools,
    default_pool_id: ids.pools,
    redirect_pool_id: ids.pools,
    listener_id: ids.listeners,
    l7policy_id: ids.l7policies,
    flavor_profile_id: ids.flavor_profiles,
    flavor_id: ids.flavors,
    availability_zone_profile_id: ids.availability_zone_profiles,
    availability_zone: ids.availability_zones,
    // no two amphorae, nor flavors, have the same
    lb_network_ip: randomUUID(),
    ...(resource.table === "flavors" ? { name: randomUUID() } : {}),
  };
  return Object.fromEntries(Object.entries(known).filter(([name]) => columnsOf(resource).includes(name)));
}

/** Columns that hold milliseconds since 1970. */
async function wideColumns(store: Store): Promise<ReadonlySet<string>> {
  const tables = await store.db.introspection.getTables();
  const columns = tables.flatMap((table) => table.columns);
  return new Set(columns.filter(({ dataType }) => /^(bigint|int8)$/i.test(dataType)).map(({ name }) => name));
}

/** Any values that the columns can hold; texts are what attackers and grandmothers type. */
function aRow(resource: Resource, wide: ReadonlySet<string>): fc.Arbitrary<Record<string, unknown>> {
  const columns = Object.entries(resource.attributes).filter(([, { column }]) => column !== null);
  return fc.record(Object.fromEntries(columns.map(([name, each]) => [name, aValue(each, wide.has(name))])));
}

function aValue({ column, nullable }: Attribute, wide: boolean): fc.Arbitrary<unknown> {
  const hostile = fc.constantFrom(
    "'",
    "''",
    '"',
    "\\",
    "'; drop table pools; --",
    "$1",
    "?",
    "null",
    "true",
    "1",
    "\n\r\t",
  );
  // PostgreSQL holds no NUL; the API lets none in
  const texts = fc.oneof(
    fc.string({ unit: "binary" }).map((text) => text.replaceAll("\0", "")),
    hostile,
  );
  const values: Record<Column, fc.Arbitrary<unknown>> = {
    text: texts,
    integer: wide ? fc.maxSafeInteger() : fc.integer(),
    real: fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
    boolean: fc.boolean(),
    json: fc.array(texts),
  };
  const value = values[column ?? "text"];
  return nullable ? fc.option(value) : value;
}
