/** Whole load balancers in one body, and parts with what is within them. */
import t from "tap";
import { ALICE, type Json, object, objects, startApi } from "../support/api.ts";
import { expectRefused, type Refusal } from "../support/api-refusals.ts";
import { databases, SQLITE } from "../support/postgres.ts";

const POOLING = { protocol: "HTTP", lb_algorithm: "ROUND_ROBIN" };
const CHECK = { type: "HTTP", delay: 5, timeout: 4, max_retries: 3 };
const RULE = { type: "PATH", compare_type: "EQUAL_TO", value: "/x" };

let port = 1;
const aListener = (values: Json = {}): Json => ({ protocol: "HTTP", protocol_port: port++, ...values });
const aMember = (last: number): Json => ({ address: `10.0.0.${last}`, protocol_port: 80 });

function inList(of: unknown, name: string): Json[] {
  return objects({ body: of as Json, text: JSON.stringify(of) }, name);
}

for (const database of databases(t)) {
  t.test(
    `${database.name}: a load balancer made with everything in it is answered in full, and then by ids`,
    async (t) => {
      const api = await startApi(t, database, { settles: false });
      const whole = {
        name: "whole",
        tags: ["a"],
        pools: [{ name: "shared", ...POOLING, members: [aMember(1), aMember(2)] }],
        listeners: [
          aListener({
            name: "first",
            default_pool: {
              name: "own",
              ...POOLING,
              members: [aMember(3)],
              healthmonitor: { ...CHECK, name: "check" },
            },
            l7policies: [
              { name: "to shared", action: "REDIRECT_TO_POOL", redirect_pool: { name: "shared" }, rules: [RULE, RULE] },
              { name: "to its own", action: "REDIRECT_TO_POOL", redirect_pool: { name: "third", ...POOLING } },
            ],
          }),
          aListener({ name: "second", default_pool: { name: "shared" } }),
          aListener({ name: "third" }),
        ],
      };
      const answer = await api.call("POST", "/loadbalancers", { loadbalancer: whole }, { token: ALICE });
      t.equal(answer.status, 201, answer.text);
      const made = object(answer, "loadbalancer");
      const names = (of: Json[]) => of.map(({ name }) => name);
      const [first, second, third] = inList(made, "listeners");
      const pools = Object.fromEntries(inList(made, "pools").map((each) => [String(each.name), each]));
      t.strictSame(Object.keys(pools).sort(), ["own", "shared", "third"]);
      t.strictSame(names(inList(made, "listeners")), ["first", "second", "third"]);
      const ids = (...of: (Json | undefined)[]) => of.map((each) => ({ id: each?.id }));
      const { own, shared, third: redirected } = pools;
      t.match(
        [first, second, third].map((each) => each?.default_pool_id),
        [own?.id, shared?.id, null],
      );
      const policies = inList(first, "l7policies");
      t.match(policies, [
        { name: "to shared", position: 1, redirect_pool_id: shared?.id, listener_id: first?.id },
        { name: "to its own", position: 2, redirect_pool_id: redirected?.id, rules: [] },
      ]);
      t.match(inList(policies[0], "rules"), [RULE, RULE]);
      t.match(own, { listeners: ids(first), healthmonitor: { name: "check", ...CHECK, pools: ids(own) } });
      t.match(shared, { l7policies: ids(policies[0]), healthmonitor: null });
      t.strictSame(new Set(inList(shared, "listeners").map(({ id }) => id)), new Set([first?.id, second?.id]));
      t.match(redirected, { listeners: ids(first), l7policies: ids(policies[1]), members: [] });
      t.match(inList(own, "members"), [{ ...aMember(3), operating_status: "OFFLINE" }]);
      t.match(
        inList(shared, "members"),
        [1, 2].map((i) => ({ ...aMember(i), operating_status: "NO_MONITOR" })),
      );
      const everything = [made, first, ...policies, ...inList(policies[0], "rules"), own, ...inList(own, "members")];
      for (const each of [...everything, object({ body: own ?? {}, text: "" }, "healthmonitor")]) {
        t.match(each, {
          project_id: "alpha",
          tenant_id: "alpha",
          provisioning_status: "PENDING_CREATE",
          updated_at: null,
        });
      }
      await api.reconciler.settle();
      const lb = await api.show("loadbalancer", `/loadbalancers/${made.id}`);
      t.match(lb, { provisioning_status: "ACTIVE", listeners: ids(first, second, third).map(() => ({ id: String })) });
      const sorted = (of: unknown) =>
        inList({ list: of }, "list")
          .map(({ id }) => id)
          .sort();
      t.strictSame(sorted(lb.listeners), sorted([first, second, third]));
      t.strictSame(sorted(lb.pools), sorted(Object.values(pools)));
      const shownFirst = await api.show("listener", `/listeners/${first?.id}`);
      t.strictSame(shownFirst, { ...first, provisioning_status: "ACTIVE", l7policies: ids(...policies) });
      const shownOwn = await api.show("pool", `/pools/${own?.id}`);
      const { healthmonitor, ...rest } = own ?? {};
      t.strictSame(shownOwn, { ...rest, provisioning_status: "ACTIVE", members: ids(...inList(own, "members")) });
      t.equal(shownOwn.healthmonitor_id, (healthmonitor as Json).id);
    },
  );

  t.test(`${database.name}: a body of hundreds of objects costs as many statements as one of a few`, async (t) => {
    let statements: string[] = [];
    const quotas = {
      load_balancer: 9,
      listener: 999,
      pool: 999,
      member: 999,
      health_monitor: 999,
      l7policy: 999,
      l7rule: 999,
    };
    const api = await startApi(t, database, { settles: false, quotas, onQuery: (each) => statements.push(each) });
    const whole = (listeners: number, pools: number, members: number) => ({
      pools: Array.from({ length: pools }, (_, i) => ({
        name: `p${i}`,
        ...POOLING,
        healthmonitor: CHECK,
        members: Array.from({ length: members }, (_, j) => aMember(j + 1)),
      })),
      listeners: Array.from({ length: listeners }, (_, i) =>
        aListener({
          default_pool: { name: `p${i % pools}` },
          l7policies: Array.from({ length: pools }, (_, j) => ({
            action: "REDIRECT_TO_POOL",
            redirect_pool: { name: `p${j}` },
            rules: [RULE],
          })),
        }),
      ),
    });
    const count = async (path: string, body: Json) => {
      statements = [];
      const answer = await api.call("POST", path, body);
      t.equal(answer.status, 201, answer.text.slice(0, 300));
      const taken = statements;
      await api.reconciler.settle();
      return { answer, taken };
    };
    const few = await count("/loadbalancers", { loadbalancer: whole(1, 1, 1) });
    const many = await count("/loadbalancers", { loadbalancer: whole(10, 10, 20) });
    t.equal(many.taken.length, few.taken.length);
    for (const table of [
      "load_balancers",
      "listeners",
      "pools",
      "members",
      "health_monitors",
      "l7policies",
      "l7rules",
    ]) {
      const inserts = many.taken.filter((each) => each.startsWith(`insert into "${table}"`));
      t.equal(inserts.length, 1, `one statement for all ${table}`);
    }
    const loadbalancer_id = object(few.answer, "loadbalancer").id;
    const within = async (number: number) => {
      const pool = { loadbalancer_id, ...POOLING, healthmonitor: CHECK };
      const made = { ...pool, members: Array.from({ length: number }, (_, i) => aMember(i + 1)) };
      const rules = Array.from({ length: Math.min(number, 50) }, () => RULE);
      const listener = { loadbalancer_id, ...aListener({ l7policies: [{ action: "REJECT", rules }] }) };
      const [ofPool, ofListener] = [await count("/pools", { pool: made }), await count("/listeners", { listener })];
      return [ofPool.taken.length, ofListener.taken.length];
    };
    t.strictSame(await within(200), await within(1), "of a pool with members, and of a listener with rules");
  });

  t.test(`${database.name}: a body with a fault is refused, naming its place, and leaves nothing behind`, async (t) => {
    const api = await startApi(t, database);
    const { pool: foreign, lb } = await api.graph();
    const inBody = (status: number, named: string, place: string, values: Json): Refusal[] => [
      [status, named, "POST", "/loadbalancers", "loadbalancer", values],
      [status, place === "" ? "" : `(in ${place})`, "POST", "/loadbalancers", "loadbalancer", values],
    ];
    const reference = (name: string) => aListener({ default_pool: { name } });
    const pools = [{ name: "p", ...POOLING }];
    const at = { protocol: "HTTP", protocol_port: 5000 };
    const redirecting = (values: Json) => aListener({ l7policies: [{ action: "REDIRECT_TO_POOL", ...values }] });
    const many = Array.from({ length: 51 }, () => RULE);
    await expectRefused(t, api, [
      ...inBody(400, "'nobody' was referenced", "listeners[0]", { pools, listeners: [reference("nobody")] }),
      ...inBody(400, "must be unique", "listeners[0]", { pools: [...pools, ...pools], listeners: [reference("p")] }),
      ...inBody(400, "'p' was referenced", "listeners[1].l7policies[0]", {
        listeners: [aListener(), redirecting({ redirect_pool: { name: "p" } })],
      }),
      ...inBody(400, "attribute lb_algorithm.", "pools[1]", { pools: [...pools, { name: "q", protocol: "HTTP" }] }),
      ...inBody(400, "attribute lb_algorithm.", "listeners[0].default_pool", {
        listeners: [aListener({ default_pool: { name: "q", protocol: "HTTP" } })],
      }),
      ...inBody(400, "attribute weight.", "pools[0].members[1]", {
        pools: [{ ...POOLING, members: [aMember(1), { ...aMember(2), weight: 300 }] }],
      }),
      ...inBody(409, "10.0.0.1", "pools[0].members[1]", { pools: [{ ...POOLING, members: [aMember(1), aMember(1)] }] }),
      ...inBody(400, "attribute type.", "pools[0].healthmonitor", {
        pools: [{ ...POOLING, healthmonitor: { ...CHECK, type: "UDP-CONNECT" } }],
      }),
      ...inBody(409, "protocol_port 5000", "listeners[1]", { listeners: [at, at] }),
      ...inBody(400, "'TCP' is invalid", "listeners[0]", {
        listeners: [aListener({ default_pool: { ...POOLING, protocol: "TCP" } })],
      }),
      ...inBody(400, "another load balancer", "listeners[0]", { listeners: [aListener({ default_pool_id: foreign })] }),
      ...inBody(400, "redirect_pool_id", "listeners[0].l7policies[0]", { listeners: [redirecting({})] }),
      ...inBody(400, "attribute key.", "listeners[0].l7policies[0].rules[1]", {
        listeners: [aListener({ l7policies: [{ action: "REJECT", rules: [RULE, { ...RULE, type: "COOKIE" }] }] })],
      }),
      ...inBody(409, "50", "listeners[0].l7policies[0].rules[50]", {
        listeners: [aListener({ l7policies: [{ action: "REJECT", rules: many }] })],
      }),
      ...inBody(400, "default_pool_id", "listeners[0]", {
        listeners: [aListener({ default_pool_id: foreign, default_pool: { ...POOLING } })],
      }),
      ...inBody(400, "redirect_pool_id", "listeners[0].l7policies[0]", {
        listeners: [redirecting({ redirect_pool_id: foreign, redirect_pool: { ...POOLING } })],
      }),
      ...inBody(400, "Unknown attribute", "listeners[0]", { listeners: [aListener({ nonsense: 1 })] }),
      ...inBody(400, "loadbalancer_id", "listeners[0]", { listeners: [aListener({ loadbalancer_id: lb })] }),
      ...inBody(400, "listener_id", "listeners[0].l7policies[0]", {
        listeners: [aListener({ l7policies: [{ action: "REJECT", listener_id: lb }] })],
      }),
      ...inBody(400, "attribute project_id.", "pools[0]", { pools: [{ ...POOLING, project_id: "other" }] }),
      ...inBody(400, "attribute listeners.", "", { listeners: {} }),
      ...inBody(400, "attribute listeners.", "listeners[1]", { listeners: [aListener(), null] }),
      ...inBody(400, "attribute members.", "pools[0]", { pools: [{ ...POOLING, members: "x" }] }),
      ...inBody(400, "attribute members.", "pools[0].members[0]", { pools: [{ ...POOLING, members: [[]] }] }),
      ...inBody(400, "attribute healthmonitor.", "pools[0].healthmonitor", {
        pools: [{ ...POOLING, healthmonitor: [] }],
      }),
      ...inBody(400, "attribute l7policies.", "listeners[0]", { listeners: [aListener({ l7policies: {} })] }),
      // the last part is what is wrong: everything before it was made, and is not there
      ...inBody(400, "redirect_url", "listeners[1].l7policies[1]", {
        pools,
        listeners: [
          aListener({ default_pool: { name: "p" } }),
          aListener({ l7policies: [{ action: "REJECT" }, { action: "REDIRECT_TO_URL" }] }),
        ],
      }),
    ]);
  });
}

t.test("pools may stand anywhere, with a name or without, and be named anywhere", async (t) => {
  const api = await startApi(t, SQLITE);
  const odd = 'it\'s "odd", [0] {}';
  const whole = {
    listeners: [
      // named before it is described, and by those that stand elsewhere
      aListener({ default_pool: { name: "late" } }),
      aListener({ default_pool: { name: odd } }),
      aListener({
        l7policies: [
          { action: "REDIRECT_TO_POOL", redirect_pool: { name: "late", ...POOLING } },
          { action: "REDIRECT_TO_POOL", redirect_pool: { ...POOLING } },
          { action: "REDIRECT_TO_POOL", redirect_pool: { name: odd, ...POOLING } },
        ],
      }),
      aListener({ default_pool: { ...POOLING } }),
      aListener({ default_pool: null, l7policies: null }),
    ],
    pools: null,
  };
  const made = await api.create("loadbalancer", "/loadbalancers", whole);
  const pools = inList(made, "pools");
  t.strictSame(pools.map(({ name }) => name).sort(), ["", "", odd, "late"].sort());
  const named = (name: string) => pools.find((each) => each.name === name)?.id;
  const [first, second, third, fourth, fifth] = inList(made, "listeners");
  t.equal(first?.default_pool_id, named("late"));
  t.equal(second?.default_pool_id, named(odd));
  const [late, unnamed, last] = inList(third, "l7policies").map((each) => each.redirect_pool_id);
  t.strictSame([late, last], [named("late"), named(odd)]);
  t.not(unnamed, fourth?.default_pool_id, "each of those without a name is its own");
  t.equal(fifth?.default_pool_id, null);
});

t.test("policies of a body have the order that their positions say, whatever order they stand in", async (t) => {
  const api = await startApi(t, SQLITE);
  const policies = (...positions: (number | null)[]) =>
    positions.map((position, i) => ({ name: `${i}`, action: "REJECT", ...(position === null ? {} : { position }) }));
  for (const [given, wanted] of [
    [[null, null, null], "012"],
    [[3, 2, 1], "210"],
    [[2, 3, 1], "201"],
    [[null, 1, null], "102"],
    [[9, 7, 8], "120"],
  ] as const) {
    const listeners = [aListener({ l7policies: policies(...given) })];
    const [listener] = inList(await api.create("loadbalancer", "/loadbalancers", { listeners }), "listeners");
    const made = inList(listener, "l7policies");
    t.equal(made.map(({ name }) => name).join(""), wanted, given.join());
    t.strictSame(
      made.map(({ position }) => position),
      [1, 2, 3],
    );
  }
});

t.test("parts are made with what is within them, too", async (t) => {
  const api = await startApi(t, SQLITE);
  const { id: loadbalancer_id } = await api.create("loadbalancer", "/loadbalancers", {});
  const l7policies = [{ action: "REDIRECT_TO_POOL", redirect_pool: { name: "p" }, rules: [RULE] }];
  const default_pool = { name: "p", ...POOLING, members: [aMember(1)], healthmonitor: CHECK };
  const made = await api.create("listener", "/listeners", {
    loadbalancer_id,
    ...aListener({ default_pool, l7policies }),
  });
  t.match(made, { default_pool_id: String, l7policies: [{ id: String }] });
  const pool = await api.show("pool", `/pools/${made.default_pool_id}`);
  t.match(pool, { name: "p", members: [{ id: String }], healthmonitor_id: String, l7policies: made.l7policies });
  const redirecting = { listener_id: made.id, action: "REDIRECT_TO_POOL", rules: [RULE, RULE] };
  const policy = await api.create("l7policy", "/l7policies", { ...redirecting, redirect_pool: { ...POOLING } });
  t.match(policy, { position: 2, rules: [{ id: String }, { id: String }] });
  t.match(await api.show("pool", `/pools/${policy.redirect_pool_id}`), { l7policies: [{ id: policy.id }] });
  const alone = { loadbalancer_id, ...POOLING, members: [aMember(1), aMember(2)], healthmonitor: CHECK };
  t.match(await api.create("pool", "/pools", alone), {
    members: [{ id: String }, { id: String }],
    healthmonitor_id: String,
  });
  await api.reconciler.settle();
  await expectRefused(t, api, [
    [
      400,
      "'p' was referenced",
      "POST",
      "/listeners",
      "listener",
      { loadbalancer_id, ...aListener({ default_pool: { name: "p" } }) },
    ],
    [
      400,
      "(in rules[0])",
      "POST",
      "/l7policies",
      "l7policy",
      { ...redirecting, action: "REJECT", rules: [{ ...RULE, key: "x" }] },
    ],
    [409, "(in members[1])", "POST", "/pools", "pool", { ...alone, members: [aMember(1), aMember(1)] }],
  ]);
});
