/** The calls of the API's reference, as it writes them, with the codes and answers that it gives. */
import t from "tap";
import { ALICE, addressesOf, isObject, type Json, object, objects, SUBNETS, startApi } from "../support/api.ts";
import {
  answerProblems,
  bodyWith,
  differences,
  EXAMPLES,
  example,
  pathWith,
  unlikeSent,
} from "../support/api-reference.ts";
import { EXAMPLE_SUBNET, objectsFor } from "../support/api-reference-objects.ts";
import { databases } from "../support/postgres.ts";

const network = addressesOf(SUBNETS.main.id, [...Object.values(SUBNETS), EXAMPLE_SUBNET]);

/** Where each kind is listed, what the answers call it, and what the reference calls its id. */
const KINDS = [
  ["loadbalancer", "loadbalancers", "/v2.0/lbaas/loadbalancers", "loadbalancer_id"],
  ["listener", "listeners", "/v2.0/lbaas/listeners", "listener_id"],
  ["pool", "pools", "/v2.0/lbaas/pools", "pool_id"],
  ["member", "members", "/v2.0/lbaas/pools/{pool_id}/members", "member_id"],
  ["l7policy", "l7policies", "/v2.0/lbaas/l7policies", "l7policy_id"],
  ["rule", "rules", "/v2.0/lbaas/l7policies/{l7policy_id}/rules", "l7rule_id"],
  ["healthmonitor", "healthmonitors", "/v2.0/lbaas/healthmonitors", "healthmonitor_id"],
] as const;

/** Answered by a live amphora only. */
const LIVE = "GET /v2.0/lbaas/listeners/{listener_id}/connection";

for (const database of databases(t)) {
  t.test(`${database.name}: every example is answered with the documented code and keys`, async (t) => {
    const api = await startApi(t, database, { network });
    for (const each of EXAMPLES.filter(({ operation }) => operation !== LIVE)) {
      const { operation, method, bodies, code, answer: shown } = each;
      for (const body of bodies.length > 0 ? bodies : [undefined]) {
        const ids = await objectsFor(api, operation);
        const sent = body === undefined ? undefined : bodyWith(body, ids);
        // curl says so of everything it is given with -d
        const headers: Record<string, string> =
          sent === undefined ? {} : { "content-type": "application/x-www-form-urlencoded" };
        const answer = await api.call(method, `/${pathWith(each, ids)}`, sent, { headers });
        t.equal(answer.status, code, `${operation}: ${answer.text}`);
        if (shown === null) t.equal(answer.text, "", `${operation} has no body`);
        else t.strictSame(answerProblems(answer.body, shown), [], operation);
        if (sent !== undefined) t.strictSame(unlikeSent(answer.body, sent, each), [], operation);
        if (method !== "POST") continue;
        // the next example wants the same name, address or port
        const [{ id, name }] = Object.values(answer.body).filter(isObject) as [Json];
        await api.call("DELETE", `/${pathWith(each, ids)}/${id ?? name}`);
        await api.reconciler.settle();
      }
    }
  });

  t.test(`${database.name}: what is created can be listed, shown, changed and deleted`, async (t) => {
    const api = await startApi(t, database, { network, settles: false });
    for (const [kind, plural, place, idName] of KINDS) {
      const creation = example(`POST ${place}`);
      const update = example(`PUT ${place}/{${idName}}`);
      const { code: deleted } = example(`DELETE ${kind === "loadbalancer" ? "/v2.0/lbaas" : place}/{${idName}}`);
      const [body = {}, change = {}] = [...creation.bodies, ...update.bodies.slice(0, 1)].slice(-2);
      const ids = await objectsFor(api, creation.operation);
      const list = `/${pathWith(creation, ids)}`;
      const looksRight = (found: Json, what: string) =>
        t.strictSame(
          differences(found, object({ body: creation.answer ?? {}, text: "" }, kind)),
          [],
          `${kind} ${what}`,
        );

      const sent = bodyWith(body, ids);
      const created = await api.call("POST", list, sent);
      t.equal(created.status, 201, `${kind}: ${created.text}`);
      const made = object(created, kind);
      looksRight(made, "created");
      t.strictSame(unlikeSent(created.body, sent, creation), []);
      t.match(made, { provisioning_status: "PENDING_CREATE", operating_status: /^(OFFLINE|NO_MONITOR)$/ });
      t.equal(made.updated_at, null);
      t.equal(made.tenant_id, made.project_id);
      t.match(made.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/);
      await api.reconciler.settle();

      const listed = await api.call("GET", list);
      t.equal(listed.status, 200);
      t.strictSame(listed.body[`${plural}_links`], []);
      for (const each of objects(listed, plural)) looksRight(each, "listed");
      const path = `${list}/${made.id}`;
      const shown = await api.call("GET", path);
      t.equal(shown.status, 200);
      t.strictSame(object(shown, kind), { ...made, provisioning_status: "ACTIVE" });
      const inList = objects(listed, plural).find(({ id }) => id === made.id);
      t.strictSame(inList, object(shown, kind), `${kind}: a list shows the same`);

      const changed = await api.call("PUT", path, change);
      t.equal(changed.status, 202, `${kind}: ${changed.text}`);
      t.strictSame(unlikeSent(changed.body, change, update), []);
      looksRight(object(changed, kind), "changed");
      t.equal(object(changed, kind).provisioning_status, "PENDING_UPDATE");
      t.match(object(changed, kind).updated_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/);
      await api.reconciler.settle();
      const now = await api.call("GET", path);
      t.strictSame(unlikeSent(now.body, change, update), []);
      t.equal(object(now, kind).provisioning_status, "ACTIVE");

      const gone = await api.call("DELETE", `${path}${kind === "loadbalancer" ? "?cascade=True" : ""}`);
      t.equal(gone.status, deleted);
      t.equal(gone.text, "", "without a body");
      t.equal((await api.show(kind, path)).provisioning_status, "PENDING_DELETE");
      await api.reconciler.settle();
      t.equal((await api.call("GET", path)).status, 404);
    }
  });

  t.test(`${database.name}: parts show what they are connected with, from either end`, async (t) => {
    const api = await startApi(t, database);
    const { lb, listener, pool, lonely, member, monitor, policy, rule } = await api.graph(ALICE);
    const is = (id: string) => [{ id }];
    const shown = await api.show("loadbalancer", `/loadbalancers/${lb}`);
    t.strictSame(shown.listeners, is(listener));
    const pools = objects({ body: shown, text: "" }, "pools").map(({ id }) => id);
    t.strictSame(pools.sort(), [pool, lonely].sort());
    const listening = { loadbalancers: is(lb), default_pool_id: pool, l7policies: is(policy) };
    t.match(await api.show("listener", `/listeners/${listener}`), listening);
    await api.call("PUT", `/l7policies/${policy}`, { l7policy: { redirect_pool_id: lonely } });
    const redirecting = { listener_id: listener, rules: is(rule), redirect_pool_id: lonely };
    t.match(await api.show("l7policy", `/l7policies/${policy}`), redirecting);
    const connected = {
      loadbalancers: is(lb),
      listeners: is(listener),
      members: is(member),
      healthmonitor_id: monitor,
    };
    t.match(await api.show("pool", `/pools/${pool}`), { ...connected, l7policies: [] });
    const redirectedTo = { loadbalancers: is(lb), listeners: is(listener), l7policies: is(policy), members: [] };
    t.match(await api.show("pool", `/pools/${lonely}`), { ...redirectedTo, healthmonitor_id: null });
    t.match(await api.show("healthmonitor", `/healthmonitors/${monitor}`), { pools: is(pool), pool_id: pool });
    const paths = {
      listener: `listeners/${listener}`,
      pool: `pools/${pool}`,
      healthmonitor: `healthmonitors/${monitor}`,
      l7policy: `l7policies/${policy}`,
      rule: `l7policies/${policy}/rules/${rule}`,
      member: `pools/${pool}/members/${member}`,
    };
    for (const [kind, path] of Object.entries(paths)) {
      t.equal((await api.show(kind, `/${path}`)).project_id, "alpha", "all belong to the same project");
    }
  });

  t.test(`${database.name}: statistics are the sums over all amphorae, of one listener or of all`, async (t) => {
    const api = await startApi(t, database);
    const { lb, listener } = await api.graph();
    const second = { loadbalancer_id: lb, protocol: "TCP", protocol_port: 81 };
    const other = await api.create("listener", "/listeners", second);
    const counters = {
      active_connections: 3,
      bytes_in: 344,
      bytes_out: 2 ** 52 / 4,
      request_errors: 0,
      total_connections: 4,
    };
    const times = (n: number) => Object.fromEntries(Object.entries(counters).map(([key, count]) => [key, count * n]));
    for (const path of [`/loadbalancers/${lb}/stats`, `/listeners/${listener}/stats`]) {
      t.strictSame((await api.call("GET", path)).body, { stats: times(0) }, "nothing before there was traffic");
    }
    for (const [listener_id, amphora_id] of [
      [listener, "one"],
      [listener, "two"],
      [other.id, "one"],
    ] as const) {
      const row = { listener_id, amphora_id, ...counters };
      await api.store.db.insertInto("listener_statistics").values(row).execute();
    }
    t.strictSame((await api.call("GET", `/listeners/${listener}/stats`)).body, { stats: times(2) });
    t.strictSame((await api.call("GET", `/listeners/${other.id}/stats`)).body, { stats: times(1) });
    t.strictSame((await api.call("GET", `/loadbalancers/${lb}/stats`)).body, { stats: times(3) });
  });

  t.test(`${database.name}: a failover is taken with 202, and is a change like any other`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    const { lb } = await api.graph();
    const answer = await api.call("PUT", `/loadbalancers/${lb}/failover`);
    t.equal(answer.status, 202);
    t.equal(answer.text, "");
    const row = await api.store.db.selectFrom("load_balancers").selectAll().where("id", "=", lb).executeTakeFirst();
    t.match(row, { failover: true, provisioning_status: "PENDING_UPDATE" });
  });
}
