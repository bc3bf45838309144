import t from "tap";
import { type LoadBalancer, loadBalancer } from "../../controller/model/load-balancer.ts";
import type { Store } from "../../controller/store/database.ts";
import { claim, giveBack, LEASE, release, renew, workLeft } from "../../controller/store/leases.ts";
import { lockLoadBalancer, makeDue } from "../../controller/store/load-balancers.ts";
import { findRow, updateRow } from "../../controller/store/rows.ts";
import { databases } from "../support/postgres.ts";
import { aLoadBalancer, insertAll } from "../support/tree.ts";

const MINUTE = 60_000;

for (const database of databases(t)) {
  t.test(`${database.name}: who claims gets what is due, the longest waiting first`, async (t) => {
    const store = await database.open(t);
    const [first, second, third] = await dueSince(store, 3 * MINUTE, 2 * MINUTE, MINUTE);
    await insertAll(
      store,
      loadBalancer,
      aLoadBalancer({ due_at: Date.now() + MINUTE }),
      aLoadBalancer({ due_at: null }),
    );
    t.strictSame(ids(await claim(store, "one", 2)), [first, second]);
    t.strictSame(ids(await claim(store, "two", 5)), [third]);
    t.strictSame(await claim(store, "one", 5), [], "what is claimed is not to be had again, not even by its owner");
  });

  t.test(`${database.name}: who claims gets whole rows, with its lease in them`, async (t) => {
    const store = await database.open(t);
    const row = aLoadBalancer({ due_at: 1, tags: ["a"], failover: true, name: "it's" });
    await insertAll(store, loadBalancer, row);
    const [claimed] = await claim(store, "one", 1);
    const lease = { lease_owner: "one", lease_until: claimed?.lease_until };
    t.strictSame({ ...claimed }, { ...row, ...lease });
    t.ok(within(claimed?.lease_until, LEASE), "for as long as a lease is");
  });

  t.test(`${database.name}: a lease that has run out is another's to take`, async (t) => {
    const store = await database.open(t);
    const [dead = "", alive = ""] = await dueSince(store, 2 * MINUTE, MINUTE);
    await claim(store, "one", 2);
    await updateRow(store.db, loadBalancer, dead, { lease_until: Date.now() - 1 });
    t.strictSame(ids(await claim(store, "two", 5)), [dead]);
    t.equal(await renew(store, "one", dead), false, "who lost it learns so");
    t.equal(await renew(store, "two", dead), true);
    t.equal(await renew(store, "one", alive), true);
    t.equal(await renew(store, "one", "no such"), false);
  });

  t.test(`${database.name}: renewing a lease puts its end off`, async (t) => {
    const store = await database.open(t);
    const [id = ""] = await dueSince(store, MINUTE);
    await claim(store, "one", 1);
    await updateRow(store.db, loadBalancer, id, { lease_until: Date.now() + 1 });
    t.equal(await renew(store, "one", id), true);
    t.ok(within((await findRow(store.db, loadBalancer, id))?.lease_until, LEASE));
  });

  t.test(`${database.name}: only its owner can give a lease back, and then it is due to others`, async (t) => {
    const store = await database.open(t);
    const [first = "", second = "", third = ""] = await dueSince(store, 3 * MINUTE, 2 * MINUTE, MINUTE);
    await claim(store, "one", 2);
    await claim(store, "two", 1);
    await release(store, "two", first);
    t.strictSame(await claim(store, "three", 5), []);
    await release(store, "one", first);
    t.strictSame(ids(await claim(store, "three", 5)), [first]);
    await giveBack(store, "one");
    t.strictSame(ids(await claim(store, "three", 5)), [second]);
    t.equal((await findRow(store.db, loadBalancer, third))?.lease_owner, "two");
  });

  t.test(`${database.name}: whether there is work left is known without taking it`, async (t) => {
    const store = await database.open(t);
    await insertAll(store, loadBalancer, aLoadBalancer({ due_at: Date.now() + MINUTE }), aLoadBalancer());
    t.equal(await workLeft(store), false);
    const [id = ""] = await dueSince(store, MINUTE);
    t.equal(await workLeft(store), true);
    await claim(store, "one", 1);
    t.equal(await workLeft(store), false);
    await updateRow(store.db, loadBalancer, id, { lease_until: Date.now() - 1 });
    t.equal(await workLeft(store), true);
  });

  if (database.name === "PostgreSQL") {
    t.test("PostgreSQL: who claims does not wait for what is locked, and learns that it was there", async (t) => {
      const store = await database.open(t);
      const [locked = "", free = ""] = await dueSince(store, 2 * MINUTE, MINUTE);
      await store.transaction(async (trx) => {
        await lockLoadBalancer(store, trx, locked);
        t.strictSame(ids(await claim(store, "one", 5)), [free]);
        t.equal(await workLeft(store), true);
      });
      t.strictSame(ids(await claim(store, "one", 5)), [locked]);
      t.equal(await workLeft(store), false);
    });
  }

  t.test(`${database.name}: what is made due is claimed, and nothing else`, async (t) => {
    const store = await database.open(t);
    const [one, two, three] = [aLoadBalancer(), aLoadBalancer(), aLoadBalancer()];
    await insertAll(store, loadBalancer, one, two, three);
    await makeDue(store.db, []);
    t.strictSame(await claim(store, "one", 5), []);
    await makeDue(store.db, [one.id, three.id]);
    t.strictSame(ids(await claim(store, "one", 5)).sort(), [one.id, three.id].sort());
  });

  t.test(
    `${database.name}: no two who claim at once get the same, nobody gets too much, and nothing is left`,
    async (t) => {
      const store = await database.open(t);
      const rounds = 20;
      const claimers = Array.from({ length: 8 }, (_, i) => `claimer-${i}`);
      for (let round = 0; round < rounds; round++) {
        const due = await dueSince(store, ...Array.from({ length: 30 }, (_, i) => MINUTE + i));
        const taken: string[] = [];
        while (taken.length < due.length) {
          const got = await Promise.all(claimers.map((owner) => claim(store, owner, 3)));
          t.ok(
            got.every((rows) => rows.length <= 3),
            "no more than asked for",
          );
          if (got.every((rows) => rows.length === 0)) break;
          taken.push(...got.flatMap(ids));
        }
        t.strictSame(taken.sort(), due.sort(), "each once");
      }
    },
  );
}

/** Load balancers that have been due for so many ms. */
async function dueSince(store: Store, ...waiting: number[]): Promise<string[]> {
  const rows = waiting.map((ms) => aLoadBalancer({ due_at: Date.now() - ms }));
  // not in the order of their waiting
  await insertAll(store, loadBalancer, ...rows.toReversed());
  return ids(rows);
}

function ids(rows: readonly LoadBalancer[]): string[] {
  return rows.map(({ id }) => id);
}

/** Whether the moment is so many ms ahead, give or take what a slow machine needs. */
function within(moment: number | null | undefined, ahead: number): boolean {
  return Math.abs((moment ?? 0) - Date.now() - ahead) < 5000;
}
