/** A spec is checked whole: defaults are filled in, and each fault is named by its path and by nothing else. */
import t from "tap";
import { parseSpec, SpecError, type SpecProblem } from "../../templates/spec.ts";
import { idOf, listener, member, monitor, PEER, pool, spec, specInput } from "../support/specs.ts";

t.test("what may be left out has its default", async (t) => {
  const bare = parseSpec({
    revision: 1,
    amphora_id: idOf("amphora"),
    loadbalancer_id: idOf("loadBalancer"),
    role: "STANDALONE",
    vips: ["10.77.0.5"],
    interfaces: [{ name: "eth1", mac: "fa:16:3e:00:00:01", addresses: [] }],
    listeners: [{ id: idOf("listener"), protocol: "HTTP", protocol_port: 80 }],
    pools: [
      {
        id: idOf("pool"),
        protocol: "HTTP",
        lb_algorithm: "ROUND_ROBIN",
        members: [{ id: idOf("member"), address: "10.77.0.21", protocol_port: 8080 }],
        health_monitor: { id: idOf("monitor"), type: "HTTP", delay: 5, timeout: 3 },
      },
    ],
  });
  t.match(bare, { admin_state_up: true, interfaces: [{ mtu: 1500, routes: [] }] });
  t.match(bare.listeners[0], {
    admin_state_up: true,
    default_pool_id: null,
    connection_limit: -1,
    timeout_client_data: 50_000,
    timeout_member_connect: 5000,
    timeout_member_data: 50_000,
    timeout_tcp_inspect: 0,
  });
  t.match(bare.pools[0]?.members[0], {
    admin_state_up: true,
    weight: 1,
    backup: false,
    monitor_address: null,
    monitor_port: null,
  });
  t.match(bare.pools[0]?.health_monitor, {
    admin_state_up: true,
    max_retries: 3,
    max_retries_down: 3,
    http_method: "GET",
    http_version: 1,
    url_path: "/",
    expected_codes: "200",
    domain_name: null,
  });
});

t.test("a parsed spec parses to itself", async (t) => {
  const once = spec({ pools: [pool(1, [member(1)], { health_monitor: monitor() })] });
  t.strictSame(parseSpec(JSON.parse(JSON.stringify(once))), once);
});

t.test("what is no object is refused as a whole", async (t) => {
  for (const document of [null, undefined, 7, "spec", [], [{}], () => 0]) {
    t.strictSame(
      problemsOf(document).map(({ path }) => path),
      [""],
    );
  }
});

const CERTIFICATE = { id: idOf("certificate"), certificate: pem("CERTIFICATE"), private_key: pem("PRIVATE KEY") };

/** One fault each: the document and the path that must be named. */
const SELF = { ...aReplica(1), amphora_id: idOf("amphora"), address: "10.77.0.10" };
const FAULTS: Record<string, [document: unknown, path: string]> = {
  "an unknown field": [specBut({ vip: "10.77.0.5" }), ""],
  "an unknown field of a listener": [specBut({ listeners: [{ ...listener(1), l7: 1 }] }), "listeners[0]"],
  "an unknown field of a member": [withMember({ wieght: 2 }), "pools[0].members[0]"],
  "a missing field": [specBut({ vips: undefined }), "vips"],
  "a number for a string": [specBut({ amphora_id: 7 }), "amphora_id"],
  "a string for a number": [specBut({ revision: "1" }), "revision"],
  "a string for a boolean": [specBut({ admin_state_up: "false" }), "admin_state_up"],
  "no list": [specBut({ listeners: {} }), "listeners"],
  "null where it means nothing": [withMember({ weight: null }), "pools[0].members[0].weight"],
  "revision 0": [specBut({ revision: 0 }), "revision"],
  "a revision with a fraction": [specBut({ revision: 1.5 }), "revision"],
  "an upper case UUID": [specBut({ amphora_id: idOf("amphora").replace("11", "AA") }), "amphora_id"],
  "an unknown role": [specBut({ role: "SPARE" }), "role"],
  "no VIP": [specBut({ vips: [] }), "vips"],
  "a VIP that is no address": [specBut({ vips: ["10.77.0.5", "10.77.0.256"] }), "vips[1]"],
  "a VIP with a zone": [specBut({ vips: ["fe80::1%eth1"] }), "vips[0]"],
  "a VIP with a prefix length": [specBut({ vips: ["10.77.0.5/24"] }), "vips[0]"],
  "port 0": [withListener({ protocol_port: 0 }), "listeners[0].protocol_port"],
  "port 65536": [withListener({ protocol_port: 65_536 }), "listeners[0].protocol_port"],
  "an unknown protocol": [withListener({ protocol: "QUIC" }), "listeners[0].protocol"],
  "a connection limit below -1": [withListener({ connection_limit: -2 }), "listeners[0].connection_limit"],
  "a time beyond HAProxy's": [withListener({ timeout_client_data: 2_147_483_648 }), "listeners[0].timeout_client_data"],
  "a negative time": [withListener({ timeout_member_data: -1 }), "listeners[0].timeout_member_data"],
  "weight 257": [withMember({ weight: 257 }), "pools[0].members[0].weight"],
  "an address with a port": [withMember({ address: "10.77.0.21:80" }), "pools[0].members[0].address"],
  "an unknown algorithm": [specBut({ pools: [{ ...pool(1, []), lb_algorithm: "RANDOM" }] }), "pools[0].lb_algorithm"],
  "delay 0": [withMonitor({ delay: 0 }), "pools[0].health_monitor.delay"],
  "11 retries": [withMonitor({ max_retries: 11 }), "pools[0].health_monitor.max_retries"],
  "HTTP/2 checks": [withMonitor({ http_version: 2 }), "pools[0].health_monitor.http_version"],
  "a path without a slash": [withMonitor({ url_path: "health" }), "pools[0].health_monitor.url_path"],
  "a path with a space": [withMonitor({ url_path: "/a b" }), "pools[0].health_monitor.url_path"],
  "a path with a line end": [withMonitor({ url_path: "/a\n" }), "pools[0].health_monitor.url_path"],
  "a path of 256 characters": [withMonitor({ url_path: `/${"a".repeat(255)}` }), "pools[0].health_monitor.url_path"],
  "code 99": [withMonitor({ expected_codes: "99" }), "pools[0].health_monitor.expected_codes"],
  "a range backwards": [withMonitor({ expected_codes: "204-200" }), "pools[0].health_monitor.expected_codes"],
  "codes with spaces": [withMonitor({ expected_codes: "200, 202" }), "pools[0].health_monitor.expected_codes"],
  "a host name with a line end": [withMonitor({ domain_name: "a\n" }), "pools[0].health_monitor.domain_name"],
  "a host name that begins with -": [withMonitor({ domain_name: "-a.b" }), "pools[0].health_monitor.domain_name"],
  "an interface name with a dot": [withInterface({ name: "eth1.2" }), "interfaces[0].name"],
  "the loopback's name": [withInterface({ name: "lo" }), "interfaces[0].name"],
  "a name that means every interface": [withInterface({ name: "all" }), "interfaces[0].name"],
  "an upper case MAC address": [withInterface({ mac: "FA:16:3E:00:00:01" }), "interfaces[0].mac"],
  "an MTU that IPv6 can't have": [withInterface({ mtu: 1279 }), "interfaces[0].mtu"],
  "an address without prefix length": [withInterface({ addresses: ["10.77.0.10"] }), "interfaces[0].addresses[0]"],
  "a prefix length of 33": [withInterface({ addresses: ["10.77.0.10/33"] }), "interfaces[0].addresses[0]"],
  "a route over the other family": [
    withInterface({ routes: [{ destination: "0.0.0.0/0", via: "fd77::1" }] }),
    "interfaces[0].routes[0].via",
  ],
  "two interfaces of one name": [
    specBut({ interfaces: [nic(), nic({ mac: "fa:16:3e:00:00:02" })] }),
    "interfaces[1].name",
  ],
  "two interfaces of one MAC address": [specBut({ interfaces: [nic(), nic({ name: "eth2" })] }), "interfaces[1].mac"],
  "two listeners on one port": [
    specBut({ listeners: [listener(1), listener(2, { protocol_port: 80 })] }),
    "listeners[1].protocol_port",
  ],
  "two listeners of one id": [
    specBut({ listeners: [listener(1), listener(2, { id: idOf("listener", 1) })] }),
    "listeners[1].id",
  ],
  "a pool with a listener's id": [
    specBut({ pools: [pool(1, []), pool(2, [], { id: idOf("listener", 1) })] }),
    "pools[1].id",
  ],
  "two members of one id, in two pools": [
    specBut({ pools: [pool(1, [member(1)]), pool(2, [member(2, { id: idOf("member", 1) })])] }),
    "pools[1].members[0].id",
  ],
  "two members at one address and port": [
    specBut({ pools: [pool(1, [member(1), member(2, { address: "10.77.0.21" })])] }),
    "pools[0].members[1]",
  ],
  "a pool that is not there": [withListener({ default_pool_id: idOf("pool", 9) }), "listeners[0].default_pool_id"],
  "a TCP pool behind an HTTP listener": [
    specBut({ pools: [pool(1, [], { protocol: "TCP" })] }),
    "listeners[0].default_pool_id",
  ],
  "a UDP and a TCP pool mixed up": [
    specBut({ listeners: [listener(1, { protocol: "UDP" })] }),
    "listeners[0].default_pool_id",
  ],
  "a TERMINATED_HTTPS listener without TLS": [withListener({ protocol: "TERMINATED_HTTPS" }), "listeners[0].tls"],
  "TLS on an HTTP listener": [withTls({}, "HTTP"), "listeners[0].tls"],
  "a certificate that is not there": [
    withTls({ certificate_ids: [idOf("certificate", 9)] }),
    "listeners[0].tls.certificate_ids[0]",
  ],
  "client certificates without an authority": [
    withTls({ client_authentication: "OPTIONAL" }),
    "listeners[0].tls.client_ca",
  ],
  "a cipher list with a space": [withTls({ ciphers: "HIGH MEDIUM" }), "listeners[0].tls.ciphers"],
  "ciphers that take each other away": [withTls({ ciphers: "HIGH:!HIGH" }), "listeners[0].tls.ciphers"],
  "a command that OpenSSL does not know": [withTls({ ciphers: "HIGH:@NOTHING" }), "listeners[0].tls.ciphers"],
  "a suite of TLSv1.3 that only some OpenSSL has": [
    withTls({ ciphers: "TLS_SHA256_SHA256" }),
    "listeners[0].tls.ciphers",
  ],
  "a gap between versions": [withTls({ versions: ["TLSv1.1", "TLSv1.3"] }), "listeners[0].tls.versions"],
  "suites of TLSv1.3 for TLSv1.2": [
    withTls({ ciphers: "TLS_AES_128_GCM_SHA256", versions: ["TLSv1.2"] }),
    "listeners[0].tls.ciphers",
  ],
  "something between two PEM blocks": [
    specBut({ certificates: [{ ...CERTIFICATE, certificate: `${pem("CERTIFICATE")}x\n${pem("CERTIFICATE")}` }] }),
    "certificates[0].certificate",
  ],
  "a key that is a certificate": [
    specBut({ certificates: [{ ...CERTIFICATE, private_key: pem("CERTIFICATE") }] }),
    "certificates[0].private_key",
  ],
  "a client certificate's header where there is none": [
    withListener({ insert_headers: ["X-SSL-Client-CN"] }),
    "listeners[0].insert_headers[0]",
  ],
  "a redirection to an HTTP listener": [
    specBut({ listeners: [listener(1, { redirect_listener_id: idOf("listener", 2) }), listener(2)] }),
    "listeners[0].redirect_listener_id",
  ],
  "a redirection to nowhere": [
    withListener({ redirect_listener_id: idOf("listener", 9) }),
    "listeners[0].redirect_listener_id",
  ],
  "a policy without its target": [withPolicy({ action: "REDIRECT_TO_URL" }), "listeners[0].l7policies[0].redirect_url"],
  "a policy to a pool that is not there": [
    withPolicy({ action: "REDIRECT_TO_POOL", redirect_pool_id: idOf("pool", 9) }),
    "listeners[0].l7policies[0].redirect_pool_id",
  ],
  "a redirection to another scheme": [
    withPolicy({ action: "REDIRECT_TO_URL", redirect_url: "ftp://example.com/" }),
    "listeners[0].l7policies[0].redirect_url",
  ],
  "a rule on a header without its name": [withRule({ type: "HEADER" }), "listeners[0].l7policies[0].rules[0].key"],
  "a rule on a path with a name": [withRule({ key: "x" }), "listeners[0].l7policies[0].rules[0].key"],
  "a header's name with a colon": [withRule({ type: "HEADER", key: "a:b" }), "listeners[0].l7policies[0].rules[0].key"],
  "a file type that begins with something": [
    withRule({ type: "FILE_TYPE", compare_type: "STARTS_WITH" }),
    "listeners[0].l7policies[0].rules[0].compare_type",
  ],
  "a value with a line end": [withRule({ value: "a\nb" }), "listeners[0].l7policies[0].rules[0].value"],
  "a verification result in words": [
    withRule({ type: "SSL_VERIFY_RESULT", value: "ok" }),
    "listeners[0].l7policies[0].rules[0].value",
  ],
  "a cookie's name for persistence without cookies": [
    withPersistence({ type: "SOURCE_IP", cookie_name: "JSESSIONID" }),
    "pools[0].session_persistence.cookie_name",
  ],
  "persistence by a cookie that has no name": [
    withPersistence({ type: "APP_COOKIE" }),
    "pools[0].session_persistence.cookie_name",
  ],
  "a netmask with a hole": [
    withPersistence({ type: "SOURCE_IP", persistence_granularity: "255.0.255.0" }),
    "pools[0].session_persistence.persistence_granularity",
  ],
  "a UDP check of an HTTP pool": [withMonitor({ type: "UDP-CONNECT" }), "pools[0].health_monitor.type"],
  "a pair without VRRP": [specBut({ role: "MASTER" }), "vrrp"],
  "VRRP for one that is alone": [withVrrp({}, { role: "STANDALONE" }), "role"],
  "adverts every 15 ms": [withVrrp({ advert_interval_ms: 15 }), "vrrp.advert_interval_ms"],
  "a peer of the other family": [withVrrp({ peers: [{ ...PEER, address: "fd77::9" }] }), "vrrp.peers[0].address"],
  "two peers at one address": [
    withVrrp({ peers: [PEER, { ...PEER, amphora_id: idOf("amphora", 3) }] }),
    "vrrp.peers[1].address",
  ],
  "itself among its peers": [withVrrp({ peers: [{ ...PEER, amphora_id: idOf("amphora") }] }), "vrrp.peers"],
  "an address that goes with the VIPs of one that is alone": [
    specBut({ interfaces: sharing("10.77.0.6") }),
    "interfaces[0].shared_addresses",
  ],
  "an address that goes with the VIPs, of no subnet of its interface": [
    withVrrp({}, { interfaces: sharing("10.78.0.6") }),
    "interfaces[0].shared_addresses[0]",
  ],
  "an address that goes with the VIPs, and is one": [
    withVrrp({}, { interfaces: sharing("10.77.0.5") }),
    "interfaces[0].shared_addresses[0]",
  ],
  "VRRP without an address beside the VIP": [
    withVrrp({}, { interfaces: [{ name: "eth1", mac: "fa:16:3e:00:00:01", addresses: ["fd77::10/64"] }] }),
    "interfaces",
  ],
  "replicas among which it is not": [
    withVrrp({}, { replicas: { forwarding: "DIRECT", members: [aReplica(2), aReplica(3)] } }),
    "replicas.members",
  ],
  "replicas in one slot": [
    withVrrp({}, { replicas: { forwarding: "DIRECT", members: [SELF, { ...aReplica(2), slot: 1 }] } }),
    "replicas.members[1].slot",
  ],
  "a replica that is elsewhere": [
    withVrrp({}, { replicas: { forwarding: "DIRECT", members: [{ ...SELF, address: "10.77.0.99" }, aReplica(2)] } }),
    "replicas.members",
  ],
  "TLS towards UDP members": [
    specBut({ listeners: [], pools: [pool(1, [], { protocol: "UDP", tls: {} })] }),
    "pools[0].tls",
  ],
};

for (const [what, [document, path]] of Object.entries(FAULTS)) {
  t.test(`${what} is refused, and nothing else is found wrong`, async (t) => {
    const problems = problemsOf(document);
    t.strictSame(
      problems.map((each) => each.path),
      [path],
    );
    t.match(problems[0]?.message, /\w/);
  });
}

t.test("every fault is named at once", async (t) => {
  const listeners = [listener(1, { protocol_port: 0 })];
  const paths = problemsOf(specBut({ revision: 0, listeners, vips: ["x"] })).map(({ path }) => path);
  t.strictSame(paths.sort(), ["listeners[0].protocol_port", "revision", "vips[0]"]);
});

t.test("the error's text holds each path with its message", async (t) => {
  t.throws(() => parseSpec(specInput({ revision: 0 })), { name: "SpecError", message: /^revision: \w/ });
});

t.test("the same address may serve on two ports, and in two pools", async (t) => {
  const pools = [
    pool(1, [member(1), member(2, { address: "10.77.0.21", protocol_port: 8081 })]),
    pool(2, [member(3, { address: "10.77.0.21" })]),
  ];
  t.equal(spec({ pools }).pools.length, 2);
});

function problemsOf(document: unknown): readonly SpecProblem[] {
  try {
    parseSpec(document);
  } catch (error) {
    if (error instanceof SpecError) return error.problems;
    throw error;
  }
  return [];
}

/** What is no certificate, but has the form of one. */
function pem(label: string): string {
  return `-----BEGIN ${label}-----\nAAAA\n-----END ${label}-----\n`;
}

/** The usual spec, but for these fields, whatever they hold. */
function specBut(changes: object): object {
  return { ...specInput(), ...changes };
}

function withVrrp(changes: object, others: object = {}): object {
  const vrrp = { id: 1, priority: 100, advert_interval_ms: 200, peers: [PEER], ...changes };
  const interfaces = [{ name: "eth1", mac: "fa:16:3e:00:00:01", addresses: ["10.77.0.10/24"] }];
  return specBut({ role: "BACKUP", interfaces, vrrp, ...others });
}

function sharing(address: string): object[] {
  return [{ name: "eth1", mac: "fa:16:3e:00:00:01", addresses: ["10.77.0.10/24"], shared_addresses: [address] }];
}

function withListener(changes: object): object {
  return specBut({ listeners: [{ ...listener(1), ...changes }] });
}

function withMember(changes: object): object {
  return specBut({ pools: [pool(1, [{ ...member(1), ...changes }])] });
}

function withMonitor(changes: object): object {
  return specBut({ pools: [{ ...pool(1, []), health_monitor: { ...monitor(), ...changes } }] });
}

function aReplica(number: number): object {
  return {
    amphora_id: idOf("amphora", number),
    slot: number,
    address: `10.77.0.${number}`,
    mac: `fa:16:3e:00:01:0${number}`,
  };
}

function withTls(changes: object, protocol = "TERMINATED_HTTPS"): object {
  const tls = { certificate_ids: [idOf("certificate")], ...changes };
  return specBut({ certificates: [CERTIFICATE], listeners: [{ ...listener(1), protocol, tls }] });
}

function withPolicy(changes: object): object {
  return withListener({ l7policies: [{ id: idOf("policy"), action: "REJECT", ...changes }] });
}

function withRule(changes: object): object {
  return withPolicy({ rules: [{ id: idOf("rule"), type: "PATH", compare_type: "EQUAL_TO", value: "/", ...changes }] });
}

function withPersistence(session_persistence: object): object {
  return specBut({ pools: [{ ...pool(1, []), session_persistence }] });
}

function nic(changes: object = {}) {
  return { name: "eth1", mac: "fa:16:3e:00:00:01", addresses: ["10.77.0.10/24"], ...changes };
}

function withInterface(changes: object): object {
  return specBut({ interfaces: [nic(changes)] });
}
