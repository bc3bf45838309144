/** Which amphorae there should be, against those that there are. */
import fc from "fast-check";
import t from "tap";
import type { Amphora } from "../../controller/model/amphora.ts";
import { planAmphorae } from "../../controller/reconcile/plan.ts";
import type { Blueprint } from "../../controller/store/blueprint.ts";
import { aLoadBalancer, anAmphora } from "../support/tree.ts";

const lb = aLoadBalancer();
const SINGLE = blueprint({ topology: "SINGLE", amphorae: 1 });
const PAIR = blueprint({ topology: "ACTIVE_STANDBY", amphorae: 2 });

t.test("a new load balancer gets what its topology says", async (t) => {
  t.strictSame(planAmphorae(SINGLE, [], false), {
    keep: [],
    add: [{ role: "STANDALONE", vrrp_priority: null, vrrp_id: null }],
    retire: [],
  });
  t.strictSame(
    planAmphorae(PAIR, [], false).add.map(({ role, vrrp_priority }) => [role, vrrp_priority]),
    [
      ["MASTER", 100],
      ["BACKUP", 90],
    ],
  );
  const four = planAmphorae(blueprint({ topology: "ACTIVE_ACTIVE", amphorae: 4 }), [], false).add;
  t.strictSame(
    four.map(({ vrrp_priority }) => vrrp_priority),
    [100, 90, 80, 70],
  );
});

t.test("what is as it should be stays as it is", async (t) => {
  const [master, backup] = pair();
  const plan = planAmphorae(PAIR, [backup, master], false);
  t.strictSame([plan.add, plan.retire], [[], []]);
  t.strictSame(partsOf(plan.keep), { [master.id]: 100, [backup.id]: 90 });
});

t.test("one that goes is replaced in its part, and the other keeps its own", async (t) => {
  const [master, backup] = pair();
  const plan = planAmphorae(PAIR, [{ ...master, retiring: true }, backup], false);
  t.strictSame(
    plan.add.map(({ role, vrrp_priority }) => [role, vrrp_priority]),
    [["MASTER", 100]],
  );
  t.strictSame(partsOf(plan.keep), { [backup.id]: 90 });
  t.strictSame(
    plan.retire.map(({ id }) => id),
    [master.id],
  );
});

t.test("a failover replaces all of them", async (t) => {
  const [master, backup] = pair();
  const plan = planAmphorae(PAIR, [master, backup], true);
  t.equal(plan.add.length, 2);
  t.strictSame(plan.keep, []);
  t.strictSame(
    plan.retire.map(({ id }) => id),
    [master.id, backup.id],
  );
});

t.test("a load balancer that grows keeps the amphora it has, one that shrinks the most senior", async (t) => {
  const alone = anAmphora(lb);
  const grown = planAmphorae(PAIR, [alone], false);
  t.strictSame(partsOf(grown.keep), { [alone.id]: 100 });
  t.equal(grown.add.length, 1);
  const [master, backup] = pair();
  const shrunk = planAmphorae(SINGLE, [master, backup], false);
  t.strictSame(partsOf(shrunk.keep), { [master.id]: null });
  t.strictSame(
    shrunk.retire.map(({ id }) => id),
    [backup.id],
  );
});

t.test("whatever there is, the plan ends in one amphora for each part, and is done with that", async () => {
  const topologies = fc.oneof(
    fc.constant(SINGLE),
    fc.constant(PAIR),
    fc.integer({ min: 2, max: 10 }).map((amphorae) => blueprint({ topology: "ACTIVE_ACTIVE", amphorae })),
  );
  const row = fc
    .record({ retiring: fc.boolean(), vrrp_priority: fc.option(fc.constantFrom(100, 90, 80, 70, 5)) })
    .map((values) => anAmphora(lb, { ...values, vrrp_id: values.vrrp_priority === null ? null : 1 }));
  fc.assert(
    fc.property(topologies, fc.array(row, { maxLength: 12 }), fc.boolean(), (wanted, rows, failover) => {
      const plan = planAmphorae(wanted, rows, failover);
      const parts = [...plan.keep.map(({ slot }) => slot), ...plan.add].map(({ vrrp_priority }) => vrrp_priority);
      const each = new Set(parts);
      if (parts.length !== wanted.amphorae || each.size !== wanted.amphorae)
        throw new Error("parts are missing, or double");
      if (plan.keep.length + plan.retire.length !== rows.length) throw new Error("a row is lost, or in two places");
      const after = [
        ...plan.keep.map(({ row, slot }) => ({ ...row, ...slot })),
        ...plan.add.map((slot) => anAmphora(lb, slot)),
      ];
      const again = planAmphorae(wanted, after, false);
      if (again.add.length + again.retire.length > 0) throw new Error("the plan is not done with that");
    }),
  );
});

function blueprint(values: Pick<Blueprint, "topology" | "amphorae">): Blueprint {
  return { ...values, computeFlavor: null, volumeType: null, computeZone: null, cpuArch: null };
}

function pair(): [Amphora, Amphora] {
  return [
    anAmphora(lb, { role: "MASTER", vrrp_priority: 100, vrrp_id: 1 }),
    anAmphora(lb, { role: "BACKUP", vrrp_priority: 90, vrrp_id: 1 }),
  ];
}

function partsOf(keep: ReturnType<typeof planAmphorae>["keep"]): Record<string, number | null> {
  return Object.fromEntries(keep.map(({ row, slot }) => [row.id, slot.vrrp_priority]));
}
