import { randomUUID } from "node:crypto";
import t from "tap";
import { ALICE, type Json, SUBNETS, startApi } from "../support/api.ts";
import { databases, SQLITE } from "../support/postgres.ts";
import { contents } from "../support/tree.ts";

const nobody = randomUUID();
const pooling = { protocol: "HTTP", lb_algorithm: "ROUND_ROBIN" };
const checking = { type: "HTTP", delay: 5, timeout: 4, max_retries: 3 };

for (const database of databases(t)) {
  t.test(`${database.name}: what does not fit together is refused, saying why, and changes nothing`, async (t) => {
    const api = await startApi(t, database);
    const mine = await api.graph();
    const other = await api.graph();
    const { id: tcp } = await api.create("pool", "/pools", { ...pooling, protocol: "TCP", loadbalancer_id: mine.lb });
    const tcpMonitor = { ...checking, type: "TCP", pool_id: tcp };
    const { id: plain } = await api.create("healthmonitor", "/healthmonitors", tcpMonitor);
    await api.reconciler.settle();
    const listening = { loadbalancer_id: mine.lb, protocol: "HTTP", protocol_port: 81 };
    const members = `/pools/${mine.pool}/members`;
    const cases: [number, string, string, string, string, Json][] = [
      [404, `Load Balancer ${nobody}`, "POST", "/listeners", "listener", { ...listening, loadbalancer_id: nobody }],
      [409, "protocol_port 80", "POST", "/listeners", "listener", { ...listening, protocol_port: 80 }],
      [404, `Pool ${nobody}`, "POST", "/listeners", "listener", { ...listening, default_pool_id: nobody }],
      [400, "default_pool_id", "POST", "/listeners", "listener", { ...listening, default_pool_id: other.pool }],
      [400, "'TCP' is invalid", "POST", "/listeners", "listener", { ...listening, default_pool_id: tcp }],
      [400, "'TCP' is invalid", "PUT", `/listeners/${mine.listener}`, "listener", { default_pool_id: tcp }],
      [400, "project_id", "POST", "/listeners", "listener", { ...listening, project_id: "other" }],
      [400, "loadbalancer_id, listener_id", "POST", "/pools", "pool", pooling],
      [404, `Listener ${nobody}`, "POST", "/pools", "pool", { ...pooling, listener_id: nobody }],
      [409, "default pool", "POST", "/pools", "pool", { ...pooling, listener_id: mine.listener }],
      [
        400,
        "listener_id",
        "POST",
        "/pools",
        "pool",
        { ...pooling, listener_id: mine.listener, loadbalancer_id: other.lb },
      ],
      [409, "10.77.0.200", "POST", members, "member", { address: "10.77.0.200", protocol_port: 8080 }],
      [400, "subnet_id", "POST", members, "member", { address: "10.0.0.1", protocol_port: 1, subnet_id: nobody }],
      [404, `Pool ${nobody}`, "POST", `/pools/${nobody}/members`, "member", { address: "10.0.0.1", protocol_port: 1 }],
      [404, `Pool ${nobody}`, "POST", "/healthmonitors", "healthmonitor", { ...checking, pool_id: nobody }],
      [409, mine.monitor, "POST", "/healthmonitors", "healthmonitor", { ...checking, pool_id: mine.pool }],
      [400, "url_path", "PUT", `/healthmonitors/${plain}`, "healthmonitor", { url_path: "/x" }],
      [
        400,
        "http_method",
        "POST",
        "/healthmonitors",
        "healthmonitor",
        { ...tcpMonitor, pool_id: mine.lonely, http_method: "GET" },
      ],
      [400, "flavor_id", "POST", "/loadbalancers", "loadbalancer", { flavor_id: nobody }],
      [400, "availability_zone", "POST", "/loadbalancers", "loadbalancer", { availability_zone: "az" }],
      [400, "vip_qos_policy_id", "POST", "/loadbalancers", "loadbalancer", { vip_qos_policy_id: nobody }],
      [400, "vip_qos_policy_id", "PUT", `/loadbalancers/${mine.lb}`, "loadbalancer", { vip_qos_policy_id: nobody }],
      [400, nobody, "POST", "/loadbalancers", "loadbalancer", { vip_subnet_id: nobody }],
      [400, "vip_address", "POST", "/loadbalancers", "loadbalancer", { vip_address: "10.77.0.255" }],
      [409, "10.77.0.2", "POST", "/loadbalancers", "loadbalancer", { vip_address: "10.77.0.2" }],
    ];
    const before = await contents(api.store);
    for (const [status, named, method, path, kind, values] of cases) {
      const what = `${method} ${path} ${JSON.stringify(values)}`;
      const answer = await api.call(method, path, { [kind]: values });
      t.equal(answer.status, status, `${what}: ${answer.text}`);
      t.ok(String(answer.body.faultstring).includes(named), `${what}: ${answer.body.faultstring}`);
    }
    t.strictSame(await contents(api.store), before);
  });

  t.test(`${database.name}: a member must have the address of a host that can be reached`, async (t) => {
    const api = await startApi(t, database);
    const { lonely } = await api.graph();
    const hopeless = ["0.0.0.0", "255.255.255.255", "127.0.0.1", "127.9.9.9", "169.254.1.1", "224.0.0.1", "239.1.1.1"];
    const hopeless6 = ["::", "::1", "fe80::1", "ff02::1", "::ffff:10.0.0.1"];
    for (const address of [...hopeless, ...hopeless6]) {
      for (const field of ["address", "monitor_address"]) {
        const member = { address: "10.0.0.1", protocol_port: 1, [field]: address };
        const answer = await api.call("POST", `/pools/${lonely}/members`, { member });
        t.equal(answer.status, 400, `${field} ${address}`);
        t.ok(String(answer.body.faultstring).includes(`attribute ${field}.`), String(answer.body.faultstring));
      }
    }
    for (const address of ["192.0.2.1", "10.0.0.1", "2001:db8::9", "100.64.0.1"]) {
      await api.create("member", `/pools/${lonely}/members`, { address, protocol_port: 1 });
    }
  });
}

t.test("addresses are kept in their shortest spelling, so that each is one address only", async (t) => {
  const api = await startApi(t, SQLITE);
  const { lonely } = await api.graph();
  const member = { address: "2001:0DB8:0::0:9", protocol_port: 1, monitor_address: "2001:db8:0:0::A" };
  const made = await api.create("member", `/pools/${lonely}/members`, member);
  t.match(made, { address: "2001:db8::9", monitor_address: "2001:db8::a" });
  const again = { address: "2001:db8:0:0:0:0:0:9", protocol_port: 1 };
  t.equal((await api.call("POST", `/pools/${lonely}/members`, { member: again })).status, 409);
  const lb = await api.create("loadbalancer", "/loadbalancers", { vip_address: "2001:0db8::00AB" });
  t.match(lb, { vip_address: "2001:db8::ab", vip_subnet_id: SUBNETS.six.id });
});

t.test("a load balancer is its maker's, unless an administrator says otherwise", async (t) => {
  const api = await startApi(t, SQLITE);
  const project = async (values: Json, token?: string) =>
    (await api.create("loadbalancer", "/loadbalancers", values, token)).project_id;
  t.equal(await project({}), "admin");
  t.equal(await project({ project_id: "gamma" }), "gamma");
  t.equal(await project({ tenant_id: "gamma" }), "gamma", "by its old name");
  t.equal(await project({}, ALICE), "alpha");
  t.equal(await project({ project_id: "alpha" }, ALICE), "alpha");
  const foreign = { loadbalancer: { project_id: "beta" } };
  t.equal((await api.call("POST", "/loadbalancers", foreign, { token: ALICE })).status, 403);
});

t.test("a health monitor over HTTP asks for / with GET and expects 200, unless it is told otherwise", async (t) => {
  const api = await startApi(t, SQLITE);
  const { lonely } = await api.graph();
  const usual = { http_method: "GET", url_path: "/", expected_codes: "200", http_version: null, domain_name: null };
  const made = await api.create("healthmonitor", "/healthmonitors", { ...checking, pool_id: lonely });
  t.match(made, { ...usual, max_retries_down: 3 });
  const path = `/healthmonitors/${made.id}`;
  const special = {
    http_method: "HEAD",
    url_path: "/up?x=1",
    expected_codes: "200-204,301",
    http_version: 1.1,
    domain_name: "example.org",
  };
  const change = async (healthmonitor: Json) => {
    await api.call("PUT", path, { healthmonitor });
    return api.show("healthmonitor", path);
  };
  t.match(await change(special), special);
  t.match(await change(Object.fromEntries(Object.keys(special).map((key) => [key, null]))), usual);
});

t.test("a listener takes the other default pool that it is told, or none", async (t) => {
  const api = await startApi(t, SQLITE);
  const { listener, pool, lonely } = await api.graph();
  for (const default_pool_id of [lonely, null, pool]) {
    await api.call("PUT", `/listeners/${listener}`, { listener: { default_pool_id } });
    t.equal((await api.show("listener", `/listeners/${listener}`)).default_pool_id, default_pool_id);
    for (const each of [pool, lonely]) {
      const listeners = each === default_pool_id ? [{ id: listener }] : [];
      t.strictSame((await api.show("pool", `/pools/${each}`)).listeners, listeners);
    }
  }
});

t.test("octavia is another name for the provider amphora", async (t) => {
  const api = await startApi(t, SQLITE);
  const { provider } = await api.create("loadbalancer", "/loadbalancers", { provider: "octavia" });
  t.equal(provider, "amphora");
});
