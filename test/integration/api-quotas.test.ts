/** Quotas: shown, set, set back, listed with what is in use, and never exceeded. */
import t from "tap";
import { QUOTA_NAMES } from "../../controller/model/resource.ts";
import { ADMIN, ALICE, type Answer, BOB, type Json, object, objects, startApi, type TestApi } from "../support/api.ts";
import { expectRefused, type Refusal } from "../support/api-refusals.ts";
import { databases, SQLITE } from "../support/postgres.ts";

const POOLING = { protocol: "HTTP", lb_algorithm: "ROUND_ROBIN" };
const CHECK = { type: "HTTP", delay: 5, timeout: 4, max_retries: 3 };
const RULE = { type: "PATH", compare_type: "EQUAL_TO", value: "/x" };

/** Every part of a quota, under both spellings where there are two. */
function both(values: Json): Json {
  return {
    ...("load_balancer" in values ? { loadbalancer: values.load_balancer } : {}),
    ...("health_monitor" in values ? { healthmonitor: values.health_monitor } : {}),
    ...values,
  };
}

const all = (value: unknown) => both(Object.fromEntries(QUOTA_NAMES.map((name) => [name, value])));

function statuses(answers: readonly Answer[]): number[] {
  return answers.map(({ status }) => status).sort();
}

async function setQuota(api: TestApi, project: string, quota: Json): Promise<Answer> {
  return api.call("PUT", `/quotas/${project}`, { quota });
}

for (const database of databases(t)) {
  t.test(`${database.name}: a project has the deployment's quota, unless it has its own`, async (t) => {
    const defaults = { load_balancer: 5, listener: 2560, member: 20480, pool: 5120, l7policy: 640, l7rule: 5120 };
    const api = await startApi(t, database, { quotas: defaults });
    const usual = both({ ...defaults, health_monitor: -1 });
    for (const path of ["defaults", "alpha/default", "alpha", "anybody"]) {
      t.strictSame((await api.call("GET", `/quotas/${path}`)).body, { quota: usual }, path);
    }
    const changes: [Json, Json][] = [
      [
        { load_balancer: 1, l7rule: -1 },
        { load_balancer: 1, l7rule: -1 },
      ],
      [
        { loadbalancer: 0, healthmonitor: "7" },
        { load_balancer: 0, l7rule: -1, health_monitor: 7 },
      ],
      [
        { loadbalancer: 2, load_balancer: 2 },
        { load_balancer: 2, l7rule: -1, health_monitor: 7 },
      ],
      [{ load_balancer: null, l7rule: null }, { health_monitor: 7 }],
      [{}, { health_monitor: 7 }],
    ];
    for (const [given, wanted] of changes) {
      const answer = await setQuota(api, "alpha", given);
      t.equal(answer.status, 202, answer.text);
      const now = { quota: { ...usual, ...both(wanted) } };
      t.strictSame(answer.body, now, JSON.stringify(given));
      t.strictSame((await api.call("GET", "/quotas/alpha")).body, now);
      t.strictSame((await api.call("GET", "/quotas/beta")).body, { quota: usual }, "another's is what it was");
    }
    t.strictSame((await api.call("GET", "/quotas/alpha?fields=pool,nonsense")).body, { quota: { pool: 5120 } });
    for (const times of [1, 2]) {
      const answer = await api.call("DELETE", "/quotas/alpha");
      t.strictSame([answer.status, answer.text], [204, ""], `set back, ${times}`);
      t.strictSame((await api.call("GET", "/quotas/alpha")).body, { quota: usual });
    }
  });

  t.test(`${database.name}: the list has limits of projects' own, and what they use`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    t.strictSame((await api.call("GET", "/quotas")).body, { quotas: [], quotas_links: [] });
    await setQuota(api, "gamma", { load_balancer: 0 });
    const { lb, listener, lonely } = await api.graph(ALICE);
    await setQuota(api, "alpha", { member: 9 });
    const row = (project: string, limits: Json, used: Json) => ({
      project_id: project,
      ...all(null),
      ...both(limits),
      ...Object.fromEntries(QUOTA_NAMES.map((name) => [`in_use_${name}`, used[name] ?? null])),
      tenant_id: project,
    });
    const one = { load_balancer: 1, listener: 1, member: 1, health_monitor: 1, l7policy: 1, l7rule: 1 };
    const [alpha, gamma] = [row("alpha", { member: 9 }, { ...one, pool: 2 }), row("gamma", { load_balancer: 0 }, {})];
    t.strictSame((await api.call("GET", "/quotas")).body, { quotas: [alpha, gamma], quotas_links: [] });
    for (const [query, rows] of [
      ["project_id=gamma", [gamma]],
      ["tenant_id=alpha", [alpha]],
      ["project_id=alpha&project_id=gamma&project_id=nobody", [alpha, gamma]],
      ["project_id=nobody", []],
      ["sort=project_id:desc", [gamma, alpha]],
      ["sort_key=project_id&sort_dir=DESC", [gamma, alpha]],
      ["fields=project_id", [{ project_id: "alpha" }, { project_id: "gamma" }]],
    ] as const) {
      t.strictSame(objects(await api.call("GET", `/quotas?${query}`), "quotas"), rows, query);
    }
    await api.call("DELETE", `/pools/${lonely}`);
    const now = objects(await api.call("GET", "/quotas?project_id=alpha"), "quotas");
    t.match(now, [{ in_use_pool: 1 }], "what is being deleted is not in use");
    await api.reconciler.settle();
    await api.call("DELETE", `/listeners/${listener}`);
    await api.reconciler.settle();
    await api.call("DELETE", `/loadbalancers/${lb}?cascade=true`);
    await api.reconciler.settle();
    const left = objects(await api.call("GET", "/quotas?project_id=alpha"), "quotas");
    t.strictSame(left, [row("alpha", { member: 9 }, {})], "nothing is in use any more");
  });

  t.test(
    `${database.name}: what would exceed a quota is refused, saying which, and leaves nothing behind`,
    async (t) => {
      const api = await startApi(t, database);
      const { lb, listener, pool, lonely, policy } = await api.graph();
      const pools = (number: number) => Array.from({ length: number }, () => ({ ...POOLING }));
      await setQuota(api, "admin", all(1));
      await setQuota(api, "admin", { pool: 2 });
      const on = (title: string, path: string, kind: string, values: Json): Refusal => [
        403,
        `Quota has been met for resources: ${title}`,
        "POST",
        path,
        kind,
        values,
      ];
      const listening = { loadbalancer_id: lb, protocol: "TCP", protocol_port: 81 };
      const member = { address: "10.0.0.1", protocol_port: 80 };
      const graph = { pools: [{ ...POOLING, healthmonitor: CHECK, members: [member] }] };
      await expectRefused(t, api, [
        on("Load Balancer", "/loadbalancers", "loadbalancer", {}),
        on("Listener", "/listeners", "listener", listening),
        on("Pool", "/pools", "pool", { loadbalancer_id: lb, ...POOLING }),
        on("Member", `/pools/${lonely}/members`, "member", member),
        on("Health Monitor", "/healthmonitors", "healthmonitor", { ...CHECK, pool_id: lonely }),
        on("L7Policy", "/l7policies", "l7policy", { listener_id: listener, action: "REJECT" }),
        on("L7Rule", `/l7policies/${policy}/rules`, "rule", RULE),
        on("Load Balancer, Pool, Member, Health Monitor", "/loadbalancers", "loadbalancer", graph),
        on("Pool, L7Policy", "/l7policies", "l7policy", {
          listener_id: listener,
          action: "REDIRECT_TO_POOL",
          redirect_pool: { ...POOLING },
        }),
        [403, "Member", "PUT", `/pools/${lonely}/members`, "members", [member]],
        [403, "Member", "PUT", `/pools/${pool}/members`, "members", [member, { ...member, protocol_port: 81 }]],
        [403, "Member", "PUT", `/pools/${pool}/members?additive_only=true`, "members", [member]],
      ]);
      const replaced = await api.call("PUT", `/pools/${pool}/members`, { members: [member] });
      t.equal(replaced.status, 202, "one for another is no more than before");
      t.equal((await api.call("POST", "/loadbalancers", { loadbalancer: {} }, { token: BOB })).status, 201);
      await setQuota(api, "beta", { load_balancer: 2, pool: 3 });
      const whole = (number: number) => ({ loadbalancer: { pools: pools(number) } });
      t.equal(
        (await api.call("POST", "/loadbalancers", whole(4), { token: BOB })).status,
        403,
        "all of it, or nothing",
      );
      t.equal((await api.call("POST", "/loadbalancers", whole(3), { token: BOB })).status, 201);
      await setQuota(api, "beta", { load_balancer: 0 });
      t.equal((await api.call("POST", "/loadbalancers", whole(0), { token: BOB })).status, 403, "less than there is");
      await setQuota(api, "beta", { load_balancer: -1, pool: null });
      t.equal((await api.call("POST", "/loadbalancers", whole(4), { token: BOB })).status, 201, "without limits");
    },
  );

  t.test(`${database.name}: a quota is not exceeded by those who come at once`, async (t) => {
    const api = await startApi(t, database);
    const { pool, lonely } = await api.graph(ALICE);
    const other = await api.graph(ALICE);
    const atOnce = (work: ((i: number) => Promise<Answer>)[]) => Promise.all(work.map((each, i) => each(i)));
    const times = (number: number, each: (i: number) => Promise<Answer>) => Array.from({ length: number }, () => each);
    const used = async (name: string) =>
      objects(await api.call("GET", "/quotas?project_id=alpha"), "quotas")[0]?.[`in_use_${name}`];

    await setQuota(api, "alpha", { load_balancer: 5, pool: 9 });
    const lbs = await atOnce(
      times(8, () => api.call("POST", "/loadbalancers", { loadbalancer: {} }, { token: ALICE })),
    );
    t.strictSame(statuses(lbs), [...Array(3).fill(201), ...Array(5).fill(403)]);
    t.equal(await used("load_balancer"), 5);

    // one by one, in batches and in graphs, into three load balancers
    await setQuota(api, "alpha", { load_balancer: -1, member: 12 });
    const member = (i: number) => ({ address: `10.0.0.${i + 1}`, protocol_port: 80 });
    const batch = (i: number) => ({ members: [0, 1, 2].map((j) => member(i * 3 + j)) });
    const graph = (i: number) => ({ loadbalancer: { pools: [{ ...POOLING, members: [member(i), member(i + 100)] }] } });
    const answers = await atOnce([
      ...times(6, (i) => api.call("POST", `/pools/${lonely}/members`, { member: member(i) }, { token: ALICE })),
      ...times(3, (i) => api.call("PUT", `/pools/${pool}/members?additive_only=true`, batch(i), { token: ALICE })),
      ...times(3, (i) =>
        api.call("PUT", `/pools/${other.pool}/members?additive_only=true`, batch(i), { token: ADMIN }),
      ),
      ...times(4, (i) => api.call("POST", "/loadbalancers", graph(i), { token: ALICE })),
    ]);
    const seen = new Set(statuses(answers));
    t.ok(seen.has(201) && seen.has(403), "some came in, and some did not");
    t.strictSame(
      [...seen].filter((status) => ![201, 202, 403].includes(status)),
      [],
    );
    t.equal(await used("member"), await counted(api, "members"));
    t.ok(Number(await used("member")) <= 12, `${await used("member")} members`);
    t.ok(Number(await used("member")) >= 10, `no room is left for any that was refused: ${await used("member")}`);
  });
}

t.test("a quota that can't be is refused, naming what is wrong, and changes nothing", async (t) => {
  const api = await startApi(t, SQLITE);
  const set = (named: string, quota: Json): Refusal => [400, named, "PUT", "/quotas/alpha", "quota", quota];
  const values = [-2, 2 ** 31, 1.5, "x", "", "-2", true, [], {}];
  await expectRefused(t, api, [
    ...Object.keys(all(0)).flatMap((name) => values.map((value) => set(`attribute ${name}.`, { [name]: value }))),
    set("nonsense", { nonsense: 1 }),
    set("project_id", { project_id: "alpha" }),
    set("in_use_pool", { in_use_pool: 1 }),
    set("attribute loadbalancer.", { load_balancer: 1, loadbalancer: 2 }),
    set("attribute health_monitor.", { healthmonitor: null, health_monitor: 2 }),
    [400, "quota", "PUT", "/quotas/alpha", "quotas", {}],
    [400, "attribute quota.", "PUT", "/quotas/alpha", "quota", []],
    [400, "project_id", "PUT", "/quotas/a%20b", "quota", {}],
    [400, "project_id", "PUT", "/quotas/a%00b", "quota", {}],
    [400, "project_id", "DELETE", "/quotas/%27"],
  ]);
  for (const [query, named] of [
    ["nonsense=1", "nonsense"],
    ["tags=x", "tags"],
    ["pool=1", "pool"],
    ["sort=pool", "pool"],
    ["limit=0", "limit"],
    ["marker=%00", "marker"],
    ["marker=", "marker"],
    ["project_id=%00", "project_id"],
    ["page_reverse=maybe", "page_reverse"],
  ] as const) {
    const answer = await api.call("GET", `/quotas?${query}`);
    t.equal(answer.status, 400, query);
    t.ok(String(answer.body.faultstring).includes(named), `${query}: ${answer.body.faultstring}`);
  }
  t.equal((await api.call("GET", "/quotas/a%00b")).status, 400);
  t.equal((await api.call("POST", "/quotas", { quota: {} })).status, 405);
});

t.test("pages of quotas lead to each other, there and back", async (t) => {
  const api = await startApi(t, SQLITE);
  const projects = ["a", "b", "c", "d", "e"];
  for (const project of projects) await setQuota(api, project, {});
  for (const [order, wanted] of [
    ["asc", projects],
    ["desc", projects.toReversed()],
  ] as const) {
    const page = async (url: string) => {
      const answer = await api.call("GET", url);
      const links = Object.fromEntries(objects(answer, "quotas_links").map(({ rel, href }) => [rel, String(href)]));
      const follow = (rel: string) => links[rel]?.replace(`${api.base}/v2.0/lbaas`, "");
      const names = objects(answer, "quotas").map(({ project_id }) => project_id);
      return { names, next: follow("next"), previous: follow("previous") };
    };
    const first = await page(`/quotas?limit=2&sort=project_id:${order}`);
    const second = await page(first.next ?? "");
    const third = await page(second.next ?? "");
    const back = await page(third.previous ?? "");
    t.strictSame([first.names, second.names, third.names], [wanted.slice(0, 2), wanted.slice(2, 4), wanted.slice(4)]);
    t.strictSame(back.names, second.names);
    t.strictSame([first.previous, third.next], [undefined, undefined]);
    t.strictSame((await page(back.previous ?? "")).names, first.names);
    t.strictSame((await page(back.next ?? "")).names, third.names);
  }
});

/** What is there of alpha's, counted in the store. */
async function counted(api: TestApi, table: "members"): Promise<number> {
  const rows = await api.store.db.selectFrom(table).select("id").where("project_id", "=", "alpha").execute();
  return rows.length;
}

t.test("who may not write a quota may still read the own one", async (t) => {
  const api = await startApi(t, SQLITE);
  t.equal((await api.call("PUT", "/quotas/alpha", { quota: {} }, { token: ALICE })).status, 403);
  t.equal((await api.call("DELETE", "/quotas/alpha", undefined, { token: ALICE })).status, 403);
  t.equal((await api.call("GET", "/quotas/alpha", undefined, { token: ALICE })).status, 200);
  t.equal((await api.call("GET", "/quotas/defaults", undefined, { token: ALICE })).status, 200);
  await setQuota(api, "alpha", { pool: 1 });
  await setQuota(api, "beta", { pool: 2 });
  const listed = await api.call("GET", "/quotas", undefined, { token: ALICE });
  t.match(objects(listed, "quotas"), [{ project_id: "alpha", pool: 1 }]);
  t.equal(objects(listed, "quotas").length, 1);
  for (const path of ["/quotas/beta", "/quotas?project_id=beta", "/quotas?tenant_id=alpha&tenant_id=beta"]) {
    t.equal((await api.call("GET", path, undefined, { token: ALICE })).status, 403, path);
  }
  t.equal(object(await api.call("GET", "/quotas/alpha", undefined, { token: ALICE }), "quota").pool, 1);
});
