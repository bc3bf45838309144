/** The calls of the API's reference, as it writes them, with the codes and shapes that it gives. */
import t from "tap";
import { ALICE, type Answer, type Graph, type Json, object, objects, startApi } from "../support/api.ts";
import { differences, SHOWN, STATS } from "../support/api-reference.ts";
import { databases } from "../support/postgres.ts";

type Kind = keyof typeof SHOWN;

interface Example {
  readonly list: string;
  readonly create: Json;
  readonly update: Json;
  /** what an update shows, where that is not what was sent */
  readonly updated?: Json;
  readonly deleted: number;
}

const EXAMPLES: Readonly<Record<Kind, (graph: Graph) => Example>> = {
  loadbalancer: () => ({
    list: "/loadbalancers",
    create: {
      description: "This a demo loadbalancer.",
      admin_state_up: true,
      project_id: "e3cd678b11784734bc366148aa37580e",
      vip_address: "10.77.0.77",
      provider: "amphora",
      name: "demo-lb",
      tags: ["test_tag"],
    },
    update: { name: "demo-lb", description: "This a demo loadbalancer." },
    deleted: 204,
  }),
  listener: ({ lb }) => ({
    list: "/listeners",
    create: { loadbalancer_id: lb, name: "ls", protocol: "HTTP", protocol_port: 8080, admin_state_up: true },
    update: { name: "demo-ls", description: "hello", connection_limit: "1000" },
    updated: { name: "demo-ls", description: "hello", connection_limit: 1000 },
    deleted: 204,
  }),
  pool: ({ lb }) => ({
    list: "/pools",
    create: {
      name: "demo-pool",
      description: "demo pool create test.",
      protocol: "HTTP",
      loadbalancer_id: lb,
      lb_algorithm: "ROUND_ROBIN",
      admin_state_up: true,
    },
    update: { name: "demo-pool-2", description: "update the demo pool", lb_algorithm: "SOURCE_IP" },
    deleted: 204,
  }),
  member: ({ pool }) => ({
    list: `/pools/${pool}/members`,
    create: { name: "demo-member", weight: 2, address: "192.168.0.22", protocol_port: 80, monitor_port: 80 },
    update: { name: "demo-member-2", weight: 2, monitor_port: 8080 },
    deleted: 204,
  }),
  healthmonitor: ({ lonely }) => ({
    list: "/healthmonitors",
    create: {
      pool_id: lonely,
      name: "demo-hm",
      delay: 3,
      http_method: "GET",
      timeout: 4,
      max_retries: 3,
      type: "HTTP",
      admin_state_up: true,
    },
    update: { name: "demo-hm-2", delay: 4, timeout: 5, max_retries: 6, max_retries_down: 6 },
    deleted: 202,
  }),
};

for (const database of databases(t)) {
  for (const kind of ["loadbalancer", "listener", "pool", "member", "healthmonitor"] as const) {
    t.test(`${database.name}: ${kind}: list, create, show, update and delete are as in the reference`, async (t) => {
      const api = await startApi(t, database, { settles: false });
      const { list, create, update, updated = update, deleted } = EXAMPLES[kind](await api.graph());
      const looksRight = (found: Json, what: string) => t.strictSame(differences(found, SHOWN[kind]), [], what);
      const { loadbalancer_id, ...echoed } = create;

      const created = await api.call("POST", list, { [kind]: create });
      t.equal(created.status, 201);
      const made = object(created, kind);
      looksRight(made, "created");
      t.match(made, {
        ...echoed,
        provisioning_status: "PENDING_CREATE",
        operating_status: "OFFLINE",
        updated_at: null,
      });
      t.equal(made.tenant_id, made.project_id);
      t.match(made.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/);
      if (loadbalancer_id !== undefined) t.strictSame(made.loadbalancers, [{ id: loadbalancer_id }]);
      await api.reconciler.settle();

      const listed = await api.call("GET", list);
      t.equal(listed.status, 200);
      t.strictSame(listed.body[`${kind}s_links`], []);
      for (const each of objects(listed, `${kind}s`)) looksRight(each, "listed");
      const path = `${list}/${made.id}`;
      const shown = await api.call("GET", path);
      t.equal(shown.status, 200);
      t.strictSame(object(shown, kind), { ...made, provisioning_status: "ACTIVE" });
      t.strictSame(
        objects(listed, `${kind}s`).find(({ id }) => id === made.id),
        object(shown, kind),
      );

      const changed = await api.call("PUT", path, { [kind]: update });
      t.equal(changed.status, 202);
      t.match(object(changed, kind), { ...updated, provisioning_status: "PENDING_UPDATE" });
      looksRight(object(changed, kind), "changed");
      t.match(object(changed, kind).updated_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/);
      await api.reconciler.settle();
      t.match(await api.show(kind, path), { ...updated, provisioning_status: "ACTIVE" });

      await isGone(await api.call("DELETE", `${path}${kind === "loadbalancer" ? "?cascade=True" : ""}`), deleted);
      t.equal((await api.show(kind, path)).provisioning_status, "PENDING_DELETE");
      await api.reconciler.settle();
      t.equal((await api.call("GET", path)).status, 404);

      async function isGone(answer: Answer, status: number): Promise<void> {
        t.equal(answer.status, status);
        t.equal(answer.text, "", "without a body");
      }
    });
  }

  t.test(`${database.name}: parts show what they are connected with, from either end`, async (t) => {
    const api = await startApi(t, database);
    const { lb, listener, pool, lonely, member, monitor } = await api.graph(ALICE);
    const is = (id: string) => [{ id }];
    const shown = await api.call("GET", `/loadbalancers/${lb}`);
    t.strictSame(object(shown, "loadbalancer").listeners, is(listener));
    const pools = objects({ ...shown, body: object(shown, "loadbalancer") }, "pools").map(({ id }) => id);
    t.strictSame(pools.sort(), [pool, lonely].sort());
    t.match(await api.show("listener", `/listeners/${listener}`), { loadbalancers: is(lb), default_pool_id: pool });
    const connected = {
      loadbalancers: is(lb),
      listeners: is(listener),
      members: is(member),
      healthmonitor_id: monitor,
    };
    t.match(await api.show("pool", `/pools/${pool}`), connected);
    t.match(await api.show("healthmonitor", `/healthmonitors/${monitor}`), { pools: is(pool), pool_id: pool });
    for (const [kind, path] of Object.entries({ listener, pool, healthmonitor: monitor })) {
      t.equal((await api.show(kind, `/${kind}s/${path}`)).project_id, "alpha", "all belong to the same project");
    }
  });

  t.test(`${database.name}: statistics are the sums over all amphorae, of one listener or of all`, async (t) => {
    const api = await startApi(t, database);
    const { lb, listener } = await api.graph();
    const second = { loadbalancer_id: lb, protocol: "TCP", protocol_port: 81 };
    const other = await api.create("listener", "/listeners", second);
    const zeros = { bytes_in: 0, bytes_out: 0, active_connections: 0, total_connections: 0, request_errors: 0 };
    for (const path of [`/loadbalancers/${lb}/stats`, `/listeners/${listener}/stats`]) {
      t.strictSame((await api.call("GET", path)).body, { stats: zeros }, "nothing before there was traffic");
    }
    const counters = { ...STATS, active_connections: 3, bytes_out: 2 ** 52 / 4 };
    for (const [listener_id, amphora_id] of [
      [listener, "one"],
      [listener, "two"],
      [other.id, "one"],
    ] as const) {
      await api.store.db
        .insertInto("listener_statistics")
        .values({ listener_id, amphora_id, ...counters })
        .execute();
    }
    const times = (n: number) => Object.fromEntries(Object.entries(counters).map(([key, count]) => [key, count * n]));
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

  t.test(`${database.name}: a call as the reference writes it, for curl, is understood`, async (t) => {
    const api = await startApi(t, database);
    // curl says so of everything it is given with -d
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const answer = await api.call("POST", "/loadbalancers", '{"loadbalancer": {"name": "demo-lb"}}', { headers });
    t.equal(answer.status, 201);
    t.equal(object(answer, "loadbalancer").name, "demo-lb");
  });
}
