/** What an amphora is told is what the store says: every attribute that a spec has, under its name. */
import { randomUUID } from "node:crypto";
import t from "tap";
import { sharedSubnetsOf, specOf, VIP_INTERFACE } from "../../controller/amphorae/spec.ts";
import type { Tree } from "../../controller/store/tree.ts";
import { parseSpec } from "../../templates/spec.ts";
import { alone, PORT } from "../support/standing.ts";
import { aHealthMonitor, aListener, aLoadBalancer, aMember, anAmphora, aPool } from "../support/tree.ts";

t.test("a load balancer without parts is its address, its place and its revision", async (t) => {
  const loadBalancer = aLoadBalancer({ revision: 7, vip_address: "10.77.0.5", admin_state_up: false });
  const amphora = anAmphora(loadBalancer);
  const spec = parseSpec(specOf({ loadBalancer, listeners: [], pools: [] }, alone(amphora)));
  t.strictSame(spec, {
    revision: 7,
    amphora_id: amphora.id,
    loadbalancer_id: loadBalancer.id,
    role: "STANDALONE",
    standby: false,
    vrrp: null,
    replicas: null,
    admin_state_up: false,
    interfaces: [
      {
        name: VIP_INTERFACE,
        mac: "fa:00:00:00:00:01",
        mtu: 1400,
        addresses: ["10.77.0.7/24"],
        routes: [{ destination: "0.0.0.0/0", via: "10.77.0.1" }],
        shared_addresses: [],
      },
    ],
    vips: ["10.77.0.5"],
    lvs_tcp_timeout: 300,
    lvs_tcpfin_timeout: 120,
    lvs_udp_timeout: 300,
    certificates: [],
    listeners: [],
    pools: [],
  });
});

t.test("on an IPv6 subnet, the way out is the IPv6 one", async (t) => {
  const loadBalancer = aLoadBalancer({ vip_address: "2001:db8::5" });
  const six = { ...PORT, address: "2001:db8::7", prefix_length: 64, gateway: "2001:db8::1" };
  const spec = parseSpec(
    specOf({ loadBalancer, listeners: [], pools: [] }, alone(anAmphora(loadBalancer), { port: six })),
  );
  t.match(spec.interfaces, [{ addresses: ["2001:db8::7/64"], routes: [{ destination: "::/0", via: "2001:db8::1" }] }]);
});

t.test("every part says all that it has to say", async (t) => {
  const { tree, rows } = aTree();
  const spec = parseSpec(specOf(tree, alone(anAmphora(tree.loadBalancer))));
  t.match(spec.listeners, [pick(rows.listener, Object.keys(spec.listeners[0] ?? {}))]);
  const [pool] = spec.pools;
  t.equal(spec.pools.length, 1);
  const { members, health_monitor, tls, session_persistence, ...own } = pool ?? {};
  t.strictSame([tls, session_persistence], [null, null]);
  t.strictSame(own, pick(rows.pool, Object.keys(own)));
  t.strictSame(members, [pick(rows.member, Object.keys(members?.[0] ?? {}))]);
  t.strictSame(health_monitor, pick(rows.monitor, Object.keys(health_monitor ?? {})));
});

t.test("a health monitor without HTTP says nothing of HTTP", async (t) => {
  const { tree, rows } = aTree();
  const nothing = { http_method: null, http_version: null, url_path: null, expected_codes: null, domain_name: null };
  const healthMonitor = { ...rows.monitor, type: "TCP" as const, ...nothing };
  const bare: Tree = { ...tree, pools: [{ pool: rows.pool, members: [], healthMonitor }] };
  const [pool] = parseSpec(specOf(bare, alone(anAmphora(tree.loadBalancer)))).pools;
  t.match(pool?.health_monitor, { type: "TCP", http_method: "GET", url_path: "/", expected_codes: "200" });
  const silent: Tree = { ...tree, pools: [{ pool: rows.pool, members: [], healthMonitor: null }] };
  t.equal(specOf(silent, alone(anAmphora(tree.loadBalancer))).pools?.[0]?.health_monitor, null);
});

/** Rows in which nothing has its default. */
function aTree() {
  const loadBalancer = aLoadBalancer();
  const pool = aPool(loadBalancer, { protocol: "TCP", lb_algorithm: "SOURCE_IP", admin_state_up: false });
  const listener = aListener(loadBalancer, {
    protocol: "TCP",
    protocol_port: 5432,
    default_pool_id: pool.id,
    admin_state_up: false,
    connection_limit: 12,
    timeout_client_data: 1,
    timeout_member_connect: 2,
    timeout_member_data: 3,
    timeout_tcp_inspect: 4,
  });
  const member = aMember(pool, {
    address: "192.0.2.1",
    protocol_port: 99,
    weight: 0,
    backup: true,
    admin_state_up: false,
    monitor_address: "192.0.2.2",
    monitor_port: 100,
  });
  const monitor = aHealthMonitor(pool, {
    type: "HTTP",
    delay: 11,
    timeout: 12,
    max_retries: 4,
    max_retries_down: 5,
    admin_state_up: false,
    http_method: "HEAD",
    http_version: 1.1,
    url_path: "/up",
    expected_codes: "204",
    domain_name: "example.org",
  });
  const pools = [{ pool, members: [member], healthMonitor: monitor }];
  const tree: Tree = { loadBalancer, listeners: [{ listener, policies: [] }], pools };
  return { tree, rows: { listener, pool, member, monitor } };
}

function pick(row: object, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).filter(([name]) => names.includes(name)));
}

t.test("an interface keeps its name when those of other subnets come and go", async (t) => {
  const loadBalancer = aLoadBalancer();
  const standing = alone(anAmphora(loadBalancer));
  const [a, b] = ["fa:00:00:00:00:0a", "fa:00:00:00:00:0b"].map((mac) => ({ ...PORT, mac }));
  const names = (...more: (typeof a)[]) => {
    const ports = [PORT, ...more.flatMap((port) => port ?? [])];
    const { interfaces } = parseSpec(specOf({ loadBalancer, listeners: [], pools: [] }, { ...standing, ports }));
    return Object.fromEntries(interfaces.map(({ mac, name }) => [mac, name]));
  };
  t.match(names(a, b), names(b));
  t.match(names(a, b), names(a));
});

t.test("an address that goes with the VIPs is on the interface of its subnet", async (t) => {
  const loadBalancer = aLoadBalancer();
  const amphora = anAmphora(loadBalancer, { role: "MASTER", vrrp_id: 1, vrrp_priority: 100 });
  const second = { ...PORT, subnet_id: randomUUID(), address: "10.78.0.7", mac: "fa:00:00:00:00:0a" };
  const shared = [{ ...second, address: "10.78.0.5" }];
  const standing = { ...alone(amphora), ports: [PORT, second], shared, topology: "ACTIVE_STANDBY" as const };
  const { interfaces } = specOf({ loadBalancer, listeners: [], pools: [] }, standing);
  t.match(interfaces, [{ addresses: ["10.77.0.7/24"] }, { shared_addresses: ["10.78.0.5"] }]);
  t.notOk("shared_addresses" in (interfaces?.[0] ?? {}), "agents that know of none are told of none");
  const leaving = { ...standing, amphora: anAmphora(loadBalancer) };
  const { interfaces: own } = parseSpec(specOf({ loadBalancer, listeners: [], pools: [] }, leaving));
  t.match(own, [{ shared_addresses: [] }, { shared_addresses: [] }], "one that makes room for a pair is alone");
});

t.test("addresses go with the VIPs where members of IPVS listeners are and no VIP is", async (t) => {
  const [vips, further, members, others] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
  const loadBalancer = aLoadBalancer({ vip_subnet_id: vips, additional_vips: [{ subnet_id: further }] });
  const subnetsOf = (listening: "UDP" | "HTTP") => {
    const [ipvs, http] = [aPool(loadBalancer, { protocol: "UDP" }), aPool(loadBalancer)];
    const listener = aListener(loadBalancer, { protocol: listening });
    const on = (pool: typeof ipvs, ...subnets: (string | undefined)[]) => ({
      pool,
      members: subnets.map((subnet_id) => aMember(pool, { subnet_id: subnet_id ?? null })),
      healthMonitor: null,
    });
    const pools = [on(ipvs, members, vips, further, undefined, members), on(http, others)];
    return sharedSubnetsOf({ loadBalancer, listeners: [{ listener, policies: [] }], pools });
  };
  t.strictSame(subnetsOf("UDP"), [members]);
  t.strictSame(subnetsOf("HTTP"), []);
});
