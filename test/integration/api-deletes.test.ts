import t from "tap";
import { startApi } from "../support/api.ts";
import { databases } from "../support/postgres.ts";
import { contents } from "../support/tree.ts";

for (const database of databases(t)) {
  t.test(`${database.name}: a load balancer with parts is only deleted when these are to go too`, async (t) => {
    const api = await startApi(t, database);
    const { lb } = await api.graph();
    const before = await contents(api.store);
    for (const query of ["", "?cascade=false", "?cascade=False"]) {
      const answer = await api.call("DELETE", `/loadbalancers/${lb}${query}`);
      t.equal(answer.status, 400, query);
      t.match(answer.body.faultstring, /has children/);
    }
    const unclear = await api.call("DELETE", `/loadbalancers/${lb}?cascade=perhaps`);
    t.equal(unclear.status, 400);
    t.match(unclear.body.faultstring, "cascade");
    t.strictSame(await contents(api.store), before);
  });

  t.test(`${database.name}: with cascade everything goes, and the VIP is free again`, async (t) => {
    const api = await startApi(t, database);
    const bystander = await api.graph();
    const before = await contents(api.store);
    const { lb, listener, pool, member, monitor, policy, rule } = await api.graph();
    const vip = (await api.show("loadbalancer", `/loadbalancers/${lb}`)).vip_address;
    t.equal((await api.call("DELETE", `/loadbalancers/${lb}?cascade=true`)).status, 204);
    await api.reconciler.settle();
    const paths = [`loadbalancers/${lb}`, `listeners/${listener}`, `pools/${pool}`, `healthmonitors/${monitor}`];
    paths.push(`pools/${pool}/members/${member}`, `pools/${pool}/members`);
    paths.push(`l7policies/${policy}`, `l7policies/${policy}/rules/${rule}`, `l7policies/${policy}/rules`);
    for (const path of paths) {
      t.equal((await api.call("GET", `/${path}`)).status, 404, path);
    }
    t.strictSame(await contents(api.store), before, "what belongs to others stays");
    t.equal((await api.create("loadbalancer", "/loadbalancers", { vip_address: vip })).vip_address, vip);
    t.equal((await api.call("GET", `/listeners/${bystander.listener}`)).status, 200);
  });

  t.test(`${database.name}: a load balancer without parts is deleted as it is`, async (t) => {
    const api = await startApi(t, database);
    const { lb, listener, pool, lonely } = await api.graph();
    for (const path of [`listeners/${listener}`, `pools/${pool}`, `pools/${lonely}`]) {
      t.equal((await api.call("DELETE", `/${path}`)).status, 204, path);
    }
    t.equal((await api.call("DELETE", `/loadbalancers/${lb}`)).status, 204);
    await api.reconciler.settle();
    t.equal((await api.call("GET", `/loadbalancers/${lb}`)).status, 404);
  });

  t.test(`${database.name}: a pool takes its members and its monitor with it, and leaves its listener`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    const { listener, pool, member, monitor } = await api.graph();
    t.equal((await api.call("DELETE", `/pools/${pool}`)).status, 204);
    const parts = { pool: `/pools/${pool}`, member: `/pools/${pool}/members/${member}` };
    for (const [kind, path] of Object.entries({ ...parts, healthmonitor: `/healthmonitors/${monitor}` })) {
      t.equal((await api.show(kind, path)).provisioning_status, "PENDING_DELETE", kind);
    }
    const left = { default_pool_id: null, provisioning_status: "PENDING_UPDATE" };
    t.match(await api.show("listener", `/listeners/${listener}`), left);
    await api.reconciler.settle();
    for (const path of [...Object.values(parts), `/healthmonitors/${monitor}`]) {
      t.equal((await api.call("GET", path)).status, 404, path);
    }
    const now = { default_pool_id: null, provisioning_status: "ACTIVE" };
    t.match(await api.show("listener", `/listeners/${listener}`), now);
  });

  t.test(
    `${database.name}: what was deleted can't be changed or used, though it could not be removed yet`,
    async (t) => {
      const api = await startApi(t, database, { settles: false });
      const { lb, listener, pool, member } = await api.graph();
      await api.call("DELETE", `/pools/${pool}`);
      await api.reconciler.fail("the amphora does not answer");
      const refused: Record<string, [string, string, Record<string, unknown>]> = {
        "changing it": ["PUT", `/pools/${pool}`, { pool: {} }],
        "changing what is in it": ["PUT", `/pools/${pool}/members/${member}`, { member: {} }],
        "adding a member": ["POST", `/pools/${pool}/members`, { member: { address: "10.0.0.9", protocol_port: 1 } }],
        "adding a monitor": [
          "POST",
          "/healthmonitors",
          { healthmonitor: { pool_id: pool, type: "TCP", delay: 5, timeout: 4, max_retries: 3 } },
        ],
        "using it": ["PUT", `/listeners/${listener}`, { listener: { default_pool_id: pool } }],
      };
      for (const [what, [method, path, body]] of Object.entries(refused)) {
        const { status } = await api.call(method, path, body);
        t.ok(status === 409 || status === 400, `${what}: ${status}`);
      }
      await api.call("DELETE", `/listeners/${listener}`);
      await api.reconciler.fail("the amphora does not answer");
      const values = { listener_id: listener, protocol: "HTTP", lb_algorithm: "ROUND_ROBIN" };
      t.equal((await api.call("POST", "/pools", { pool: values })).status, 409, "a pool for a listener that goes");
      t.equal((await api.call("PUT", `/loadbalancers/${lb}`, { loadbalancer: {} })).status, 202, "the rest goes on");
      await api.reconciler.settle();
      t.equal((await api.call("GET", `/pools/${pool}`)).status, 404);
      t.equal((await api.call("GET", `/listeners/${listener}`)).status, 404);
    },
  );

  t.test(`${database.name}: parts that were deleted are no reason to keep the load balancer`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    const { id: lb } = await api.create("loadbalancer", "/loadbalancers", {});
    await api.reconciler.settle();
    const values = { loadbalancer_id: lb, protocol: "HTTP", protocol_port: 80 };
    const { id } = await api.create("listener", "/listeners", values);
    await api.reconciler.settle();
    t.equal((await api.call("DELETE", `/listeners/${id}`)).status, 204);
    await api.reconciler.fail("the amphora does not answer");
    t.equal((await api.call("DELETE", `/loadbalancers/${lb}`)).status, 204);
  });

  t.test(`${database.name}: a load balancer whose removal failed can be deleted again, and nothing else`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    const { lb, listener, pool } = await api.graph();
    t.equal((await api.call("DELETE", `/loadbalancers/${lb}?cascade=true`)).status, 204);
    await api.reconciler.fail("the amphora does not answer");
    const changes: [string, string, Record<string, unknown>?][] = [
      ["PUT", `/loadbalancers/${lb}`, { loadbalancer: { name: "risen" } }],
      ["PUT", `/loadbalancers/${lb}/failover`],
      ["POST", "/listeners", { listener: { loadbalancer_id: lb, protocol: "HTTP", protocol_port: 81 } }],
      ["PUT", `/listeners/${listener}`, { listener: {} }],
      ["DELETE", `/pools/${pool}`],
    ];
    for (const [method, path, body] of changes) {
      const answer = await api.call(method, path, body);
      t.equal(answer.status, 409, `${method} ${path}`);
      t.match(answer.body.faultstring, /is being deleted/);
    }
    t.equal((await api.call("DELETE", `/loadbalancers/${lb}`)).status, 204);
    await api.reconciler.settle();
    t.equal((await api.call("GET", `/loadbalancers/${lb}`)).status, 404);
  });
}
