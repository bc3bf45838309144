import t from "tap";
import { claim } from "../../controller/store/leases.ts";
import { settle } from "../../controller/store/load-balancers.ts";
import { eventually } from "../support/agent.ts";
import { type Answer, type Graph, object, startApi, type TestApi } from "../support/api.ts";
import { databases, SQLITE } from "../support/postgres.ts";
import { contents } from "../support/tree.ts";

interface Prepared extends Graph {
  /** a policy without rules */
  readonly spare: string;
}

async function prepare(api: TestApi): Promise<Prepared> {
  const graph = await api.graph();
  const { id } = await api.create("l7policy", "/l7policies", { listener_id: graph.listener, action: "REJECT" });
  await api.reconciler.settle();
  return { ...graph, spare: id };
}

/** Every way to change a load balancer or a part of it. */
const CHANGES: Readonly<Record<string, (api: TestApi, graph: Prepared) => Promise<Answer>>> = {
  "changing the load balancer": (api, { lb }) => api.call("PUT", `/loadbalancers/${lb}`, { loadbalancer: {} }),
  "a failover": (api, { lb }) => api.call("PUT", `/loadbalancers/${lb}/failover`),
  "making a listener": (api, { lb }) =>
    api.call("POST", "/listeners", { listener: { loadbalancer_id: lb, protocol: "TCP", protocol_port: 81 } }),
  "changing a listener": (api, { listener }) => api.call("PUT", `/listeners/${listener}`, { listener: {} }),
  "removing a listener": (api, { listener }) => api.call("DELETE", `/listeners/${listener}`),
  "making a pool": (api, { lb }) =>
    api.call("POST", "/pools", { pool: { loadbalancer_id: lb, protocol: "TCP", lb_algorithm: "SOURCE_IP" } }),
  "changing a pool": (api, { pool }) => api.call("PUT", `/pools/${pool}`, { pool: {} }),
  "removing a pool": (api, { pool }) => api.call("DELETE", `/pools/${pool}`),
  "making a member": (api, { pool }) =>
    api.call("POST", `/pools/${pool}/members`, { member: { address: "10.0.0.9", protocol_port: 80 } }),
  "changing a member": (api, { pool, member }) => api.call("PUT", `/pools/${pool}/members/${member}`, { member: {} }),
  "removing a member": (api, { pool, member }) => api.call("DELETE", `/pools/${pool}/members/${member}`),
  "replacing all members": (api, { pool }) =>
    api.call("PUT", `/pools/${pool}/members`, { members: [{ address: "10.0.0.9", protocol_port: 80 }] }),
  "making a health monitor": (api, { lonely }) => {
    const healthmonitor = { pool_id: lonely, type: "TCP", delay: 5, timeout: 4, max_retries: 3 };
    return api.call("POST", "/healthmonitors", { healthmonitor });
  },
  "changing a health monitor": (api, { monitor }) =>
    api.call("PUT", `/healthmonitors/${monitor}`, { healthmonitor: {} }),
  "removing a health monitor": (api, { monitor }) => api.call("DELETE", `/healthmonitors/${monitor}`),
  "making a policy": (api, { listener }) =>
    api.call("POST", "/l7policies", { l7policy: { listener_id: listener, action: "REJECT", position: 1 } }),
  "changing a policy": (api, { policy }) => api.call("PUT", `/l7policies/${policy}`, { l7policy: {} }),
  "removing a policy": (api, { spare }) => api.call("DELETE", `/l7policies/${spare}`),
  "making a rule": (api, { policy }) => {
    const rule = { type: "PATH", compare_type: "EQUAL_TO", value: "/x" };
    return api.call("POST", `/l7policies/${policy}/rules`, { rule });
  },
  "changing a rule": (api, { policy, rule }) => api.call("PUT", `/l7policies/${policy}/rules/${rule}`, { rule: {} }),
  "removing a rule": (api, { policy, rule }) => api.call("DELETE", `/l7policies/${policy}/rules/${rule}`),
  "removing the load balancer": (api, { lb }) => api.call("DELETE", `/loadbalancers/${lb}?cascade=true`),
};

for (const database of databases(t)) {
  t.test(`${database.name}: every change that meets another one waits for it, and is then taken`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    for (const [what, change] of Object.entries(CHANGES)) {
      const graph = await prepare(api);
      const path = `/loadbalancers/${graph.lb}`;
      t.equal((await api.call("PUT", path, { loadbalancer: { name: "under way" } })).status, 202);
      let answered = false;
      const answer = change(api, graph).finally(() => {
        answered = true;
      });
      for (let times = 0; times < 5; times++) await api.show("loadbalancer", path);
      t.equal(answered, false, `${what} waits`);
      await api.reconciler.settle();
      const { status, text } = await answer;
      t.ok(status >= 201 && status <= 204, `${what}: ${status} ${text}`);
      const now = (await api.show("loadbalancer", path)).provisioning_status;
      t.equal(now, what === "removing the load balancer" ? "PENDING_DELETE" : "PENDING_UPDATE", what);
      await api.reconciler.settle();
    }
  });

  t.test(`${database.name}: a change that has waited long enough is refused, and nothing is changed`, async (t) => {
    const api = await startApi(t, database, { settles: false, settleWait: 150 });
    const graph = await prepare(api);
    await api.call("PUT", `/loadbalancers/${graph.lb}`, { loadbalancer: {} });
    const before = await contents(api.store);
    const refused = async ([what, change]: [string, (typeof CHANGES)[string]]) => {
      const started = performance.now();
      const answer = await change(api, graph);
      t.ok(performance.now() - started >= 149, `${what} has waited`);
      t.equal(answer.status, 409, what);
      t.match(answer.body.faultstring, `Load Balancer ${graph.lb} is immutable and cannot be updated`);
    };
    await Promise.all(Object.entries(CHANGES).map(refused));
    t.strictSame(await contents(api.store), before);
  });

  t.test(`${database.name}: a change goes on too when another process settles the one before it`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    const { lb } = await api.graph();
    await api.call("PUT", `/loadbalancers/${lb}`, { loadbalancer: {} });
    const waiting = api.call("PUT", `/loadbalancers/${lb}`, { loadbalancer: { name: "second" } });
    const row = await eventually("a claim of what the second change no longer locks", async () => {
      const [claimed] = await claim(api.store, "another process", 1);
      return claimed;
    });
    t.equal(await settle(api.store, row), true);
    t.equal((await waiting).status, 202);
  });

  t.test(`${database.name}: what failed can be changed, and heals`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    for (const [what, change] of Object.entries(CHANGES)) {
      const graph = await prepare(api);
      const path = `/loadbalancers/${graph.lb}`;
      await api.call("PUT", path, { loadbalancer: {} });
      await api.reconciler.fail("no room for it");
      t.match(await api.show("loadbalancer", path), { provisioning_status: "ERROR", status_reason: "no room for it" });
      const { status, text } = await change(api, graph);
      t.ok(status >= 201 && status <= 204, `${what}: ${status} ${text}`);
      await api.reconciler.settle();
      if (what === "removing the load balancer") t.equal((await api.call("GET", path)).status, 404);
      else t.match(await api.show("loadbalancer", path), { provisioning_status: "ACTIVE", status_reason: null });
    }
  });

  t.test(`${database.name}: an answer tells what was written, even if that is carried out at once`, async (t) => {
    const api = await startApi(t, database);
    const { lb, listener, pool, member, monitor, policy } = await api.graph();
    const paths = {
      l7policy: `/l7policies/${policy}`,
      loadbalancer: `/loadbalancers/${lb}`,
      listener: `/listeners/${listener}`,
      pool: `/pools/${pool}`,
      member: `/pools/${pool}/members/${member}`,
      healthmonitor: `/healthmonitors/${monitor}`,
    };
    for (let times = 0; times < 10; times++) {
      for (const [kind, path] of Object.entries(paths)) {
        const name = `${kind} ${times}`;
        const shown = object(await api.call("PUT", path, { [kind]: { name } }), kind);
        t.match(shown, { name, provisioning_status: "PENDING_UPDATE" });
      }
    }
  });

  t.test(`${database.name}: a change leaves what it does not name, and null sets back to the default`, async (t) => {
    const api = await startApi(t, database);
    const { lb } = await api.graph();
    const chosen = { name: "n", description: "d", connection_limit: 5, timeout_client_data: 1, admin_state_up: false };
    const values = { loadbalancer_id: lb, protocol: "TCP", protocol_port: 99, tags: ["a"], ...chosen };
    const { id, ...made } = await api.create("listener", "/listeners", values);
    const update = async (listener: Record<string, unknown>) =>
      object(await api.call("PUT", `/listeners/${id}`, { listener }), "listener");
    const { updated_at, provisioning_status, ...unchanged } = made;
    t.match(await update({}), unchanged);
    t.match(await update({ name: "new" }), { ...unchanged, name: "new" });
    const nothing = { name: null, description: null, connection_limit: null, admin_state_up: null, tags: null };
    const defaults = { name: "", description: "", connection_limit: -1, admin_state_up: true, tags: [] };
    t.match(await update(nothing), { ...defaults, timeout_client_data: 1 });
    t.match(await api.create("listener", "/listeners", { ...values, ...nothing, protocol_port: 98 }), defaults);
  });

  t.test(`${database.name}: a change marks what it concerns until it is carried out`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    const { lb, listener, pool, lonely, member, monitor } = await api.graph();
    await api.call("PUT", `/pools/${pool}/members/${member}`, { member: { weight: 7 } });
    const statuses = async () => ({
      lb: (await api.show("loadbalancer", `/loadbalancers/${lb}`)).provisioning_status,
      listener: (await api.show("listener", `/listeners/${listener}`)).provisioning_status,
      pool: (await api.show("pool", `/pools/${pool}`)).provisioning_status,
      lonely: (await api.show("pool", `/pools/${lonely}`)).provisioning_status,
      member: (await api.show("member", `/pools/${pool}/members/${member}`)).provisioning_status,
      monitor: (await api.show("healthmonitor", `/healthmonitors/${monitor}`)).provisioning_status,
    });
    const [now, still] = ["PENDING_UPDATE", "ACTIVE"];
    t.strictSame(await statuses(), { lb: now, listener: now, pool: now, lonely: still, member: now, monitor: still });
    await api.reconciler.settle();
    const all = { lb: still, listener: still, pool: still, lonely: still, member: still, monitor: still };
    t.strictSame(await statuses(), all);
  });
}

t.test("a change that is not to wait is refused at once", async (t) => {
  const api = await startApi(t, SQLITE, { settles: false, settleWait: 0 });
  const { id } = await api.create("loadbalancer", "/loadbalancers", {});
  t.equal((await api.call("PUT", `/loadbalancers/${id}`, { loadbalancer: {} })).status, 409);
});
