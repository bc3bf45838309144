/** `openstack loadbalancer …` against the API alone, with a real Keystone: every command finds what it expects. */
import t from "tap";
import { startCloud } from "../support/cloud.ts";
import { openstack, Shell } from "../support/openstack.ts";

const [SUBNET, SECOND, NETWORK, PORT, QOS] = ["a", "b", "c", "d", "e"].map(
  (digit) => `00000000-0000-4000-8000-00000000000${digit}`,
) as [string, string, string, string, string];

const cloud = await startCloud(
  t,
  {
    subnets: [
      { id: SUBNET, name: "web" },
      { id: SECOND, name: "second" },
    ],
    networks: [{ id: NETWORK, name: "net" }],
    ports: [{ id: PORT, name: "port" }],
    policies: [{ id: QOS, name: "gold" }],
  },
  { compute: "noop", network: "noop" },
);
const admin = Shell.open(t, cloud.environment("admin"));
const alice = Shell.open(t, cloud.environment("alice"));
const lb = (command: string, ...args: readonly string[]) => ["loadbalancer", ...command.split(" "), ...args];

t.test("an administrator offers flavors and availability zones, of which members choose", async (t) => {
  const data = ["--flavor-data", '{"loadbalancer_topology": "ACTIVE_STANDBY", "compute_flavor": "601"}'];
  await admin.one(...lb("flavorprofile create --name pair --provider amphora"), ...data);
  await admin.quiet(...lb("flavorprofile set --name pairs pair"));
  t.match(await admin.many(...lb("flavorprofile list")), [{ name: "pairs", provider_name: "amphora" }]);
  t.match(await admin.one(...lb("flavorprofile show pairs")), { flavor_data: /"ACTIVE_STANDBY"/ });
  t.match(await admin.one(...lb("flavor create --name ha --flavorprofile pairs --description two --disable")), {
    name: "ha",
    enabled: false,
    description: "two",
  });
  await admin.quiet(...lb("flavor set --enable ha"));
  t.match(await alice.many(...lb("flavor list")), [{ name: "ha", enabled: true }]);
  await admin.quiet(...lb("flavor unset --description ha"));
  t.match(await alice.one(...lb("flavor show ha")), { name: "ha", description: "" });

  const zone = ["--availability-zone-data", '{"compute_zone": "az1", "cpu_arch": "x86_64"}'];
  await admin.one(...lb("availabilityzoneprofile create --name first --provider amphora"), ...zone);
  await admin.quiet(...lb("availabilityzoneprofile set --name one first"));
  t.match(await admin.many(...lb("availabilityzoneprofile list")), [{ name: "one", provider_name: "amphora" }]);
  t.match(await admin.one(...lb("availabilityzoneprofile show one")), { availability_zone_data: /"az1"/ });
  await admin.one(...lb("availabilityzone create --name az --availabilityzoneprofile one --description here"));
  await admin.quiet(...lb("availabilityzone set --description there az"));
  t.match(await alice.many(...lb("availabilityzone list")), [{ name: "az", enabled: true }]);
  await admin.quiet(...lb("availabilityzone unset --description az"));
  t.match(await alice.one(...lb("availabilityzone show az")), { name: "az", description: "" });

  t.match(await alice.many(...lb("provider list")), [{ name: "amphora" }, { name: "octavia" }]);
  const capabilities = await admin.many(...lb("provider capability list amphora"));
  t.match(
    capabilities.filter(({ type }) => type === "flavor").map(({ name }) => name),
    ["loadbalancer_topology", "replicas"],
  );
  t.match(
    capabilities.filter(({ type }) => type === "availability_zone").map(({ name }) => name),
    ["compute_zone"],
  );
  t.match(await alice.failing(...lb("flavorprofile list")), /^Policy does not allow .* \(HTTP 403\)/);
});

t.test("a load balancer with everything that can be said of one", async (t) => {
  const vip = ["--vip-subnet-id", "web", "--vip-address", "10.9.0.9", "--vip-qos-policy-id", "gold"];
  const rest = ["--flavor", "ha", "--availability-zone", "az", "--provider", "octavia", "--tag", "a", "--tag", "b"];
  const second = ["--additional-vip", "subnet-id=second,ip-address=10.10.0.9"];
  const create = lb("create --wait --disable --name lb1 --description first");
  const made = await alice.one(...create, ...vip, ...rest, ...second);
  t.match(made, {
    name: "lb1",
    description: "first",
    admin_state_up: false,
    provisioning_status: "ACTIVE",
    operating_status: "OFFLINE",
    vip_address: "10.9.0.9",
    vip_subnet_id: SUBNET,
    vip_qos_policy_id: QOS,
    additional_vips: [{ subnet_id: SECOND, ip_address: "10.10.0.9" }],
    availability_zone: "az",
    project_id: cloud.projects.alpha,
    tags: /^a.*b$/s,
  });
  await alice.quiet(...lb("set --enable --name web --tag c lb1"));
  t.match(await alice.one(...lb("show"), String(made.id)), { name: "web", admin_state_up: true, tags: /c/ });
  await alice.quiet(...lb("unset --description --vip-qos-policy-id --tag a web"));
  t.match(await alice.one(...lb("show web")), { description: "", vip_qos_policy_id: null });

  const listed = async (...filters: readonly string[]) =>
    (await alice.many(...lb("list"), ...filters)).map(({ name }) => name);
  await alice.one(...lb("create --name other --vip-network-id net"));
  await alice.one(...lb("create --name third --vip-port-id port"));
  t.same((await listed()).sort(), ["other", "third", "web"]);
  for (const filters of [
    ["--name", "web"],
    ["--vip-subnet-id", "web"],
    ["--flavor", "ha"],
    ["--availability-zone", "az"],
    ["--tags", "b,c"],
    ["--any-tags", "c,d"],
    ["--provider", "amphora", "--any-tags", "b"],
    ["--enable", "--provisioning-status", "ACTIVE", "--operating-status", "OFFLINE", "--tags", "c"],
  ]) {
    t.same(await listed(...filters), ["web"], filters.join(" "));
  }
  for (const filters of [["--disable"], ["--vip-qos-policy-id", "gold"], ["--tags", "a"], ["--not-any-tags", "b"]]) {
    t.notOk((await listed(...filters)).includes("web"), filters.join(" "));
  }
  t.same(await listed("--vip-port-id", "port"), ["third"]);
  t.same(await listed("--vip-network-id", "net"), ["other"]);
});

t.test("listeners, pools, members and monitors are made, shown, changed and put back", async (t) => {
  const listener = lb("listener create --name http --protocol HTTP --protocol-port 80 --connection-limit 100 web");
  const headers = ["--insert-headers", "X-Forwarded-For=true,X-Forwarded-Port=true", "--allowed-cidr", "10.0.0.0/8"];
  const timeouts = ["--timeout-client-data", "1000", "--timeout-member-connect", "1001", "--timeout-tcp-inspect", "5"];
  t.match(await alice.one(...listener, ...headers, ...timeouts, "--timeout-member-data", "1002", "--tag", "a"), {
    connection_limit: 100,
    insert_headers: /X-Forwarded-For=true/,
    allowed_cidrs: "10.0.0.0/8",
    timeout_client_data: 1000,
    tags: "a",
  });
  await alice.quiet(
    ...lb("listener set --connection-limit 7 --disable --description d --allowed-cidr 10.1.0.0/16 http"),
  );
  t.match(await alice.one(...lb("listener show http")), { connection_limit: 7, allowed_cidrs: "10.1.0.0/16" });
  const back = ["--connection-limit", "--timeout-client-data", "--insert-headers", "--allowed-cidrs", "--all-tag"];
  await alice.quiet(...lb("listener unset --description"), ...back, "http");
  t.match(await alice.one(...lb("listener show http")), {
    connection_limit: -1,
    timeout_client_data: 50_000,
    insert_headers: null,
    allowed_cidrs: null,
    description: "",
    tags: "",
  });
  await alice.quiet(...lb("listener set --enable http"));

  const pool = lb("pool create --name p --protocol HTTP --lb-algorithm ROUND_ROBIN --listener http");
  t.match(await alice.one(...pool, "--session-persistence", "type=APP_COOKIE,cookie_name=sid"), {
    session_persistence: /cookie_name=sid/,
    lb_algorithm: "ROUND_ROBIN",
  });
  await alice.quiet(...lb("pool set --lb-algorithm LEAST_CONNECTIONS --description d p"));
  await alice.quiet(...lb("pool unset --session-persistence --description p"));
  t.match(await alice.one(...lb("pool show p")), { session_persistence: null, lb_algorithm: "LEAST_CONNECTIONS" });
  await alice.one(...lb("pool create --name spare --protocol HTTP --lb-algorithm SOURCE_IP --loadbalancer web --wait"));
  t.same((await alice.many(...lb("pool list --loadbalancer web"))).map(({ name }) => name).sort(), ["p", "spare"]);

  const member = lb("member create --name m1 --address 10.9.0.10 --protocol-port 8080 --subnet-id web --weight 5 p");
  t.match(await alice.one(...member, "--monitor-port", "9000", "--monitor-address", "10.9.0.11", "--enable-backup"), {
    weight: 5,
    subnet_id: SUBNET,
    monitor_port: 9000,
    monitor_address: "10.9.0.11",
    backup: true,
    operating_status: "NO_MONITOR",
  });
  await alice.quiet(...lb("member set --weight 0 --disable --name m p m1"));
  await alice.quiet(...lb("member unset --weight --backup --monitor-port --monitor-address p m"));
  const shown = { weight: 1, backup: false, monitor_port: null, monitor_address: null, admin_state_up: false };
  t.match(await alice.one(...lb("member show p m")), shown);
  t.match(await alice.many(...lb("member list p")), [{ name: "m", address: "10.9.0.10", protocol_port: 8080 }]);

  const http = ["--url-path", "/up", "--expected-codes", "200-204", "--http-method", "HEAD", "--domain-name", "a.b"];
  const monitor = lb("healthmonitor create --name h --type HTTP --delay 5 --timeout 3 --max-retries 2 p");
  t.match(await alice.one(...monitor, ...http, "--http-version", "1.1", "--max-retries-down", "4"), {
    url_path: "/up",
    expected_codes: "200-204",
    http_method: "HEAD",
    http_version: 1.1,
    domain_name: "a.b",
    max_retries_down: 4,
  });
  await alice.quiet(...lb("healthmonitor set --delay 9 --url-path /down --disable h"));
  const unset = ["--url-path", "--expected-codes", "--http-method", "--max-retries-down", "--domain-name"];
  await alice.quiet(...lb("healthmonitor unset --http-version"), ...unset, "h");
  const defaults = { delay: 9, url_path: "/", expected_codes: "200", http_method: "GET", max_retries_down: 3 };
  t.match(await alice.one(...lb("healthmonitor show h")), { ...defaults, domain_name: null, http_version: null });
  t.match(await alice.many(...lb("healthmonitor list")), [{ name: "h", type: "HTTP", admin_state_up: false }]);
});

t.test("policies and rules, in their order", async (t) => {
  const reject = lb("l7policy create --name no --action REJECT http");
  t.match(await alice.one(...reject), { action: "REJECT", position: 1 });
  const redirect = ["--redirect-url", "https://example.org/", "--redirect-http-code", "301", "--position", "1"];
  await alice.one(...lb("l7policy create --name go --action REDIRECT_TO_URL"), ...redirect, "http");
  await alice.one(...lb("l7policy create --name to --action REDIRECT_TO_POOL --redirect-pool spare http"));
  await alice.one(
    ...lb("l7policy create --name prefix --action REDIRECT_PREFIX http"),
    "--redirect-prefix",
    "https://x/",
  );
  const positions = async () =>
    (await alice.many(...lb("l7policy list --listener http")))
      .sort((a, b) => Number(a.position) - Number(b.position))
      .map(({ name }) => name);
  t.same(await positions(), ["go", "no", "to", "prefix"]);
  await alice.quiet(...lb("l7policy set --position 1 --description d to"));
  t.same(await positions(), ["to", "go", "no", "prefix"]);
  await alice.quiet(...lb("l7policy unset --redirect-http-code go"));
  t.match(await alice.one(...lb("l7policy show go")), { redirect_http_code: 302 });

  const rule = lb("l7rule create --type HEADER --compare-type EQUAL_TO --key X-A --value 1 --invert no");
  const { id } = await alice.one(...rule);
  await alice.quiet(...lb("l7rule set --value 2 no"), String(id));
  await alice.quiet(...lb("l7rule unset --invert no"), String(id));
  t.match(await alice.one(...lb("l7rule show no"), String(id)), { value: "2", invert: false, key: "X-A" });
  t.match(await alice.many(...lb("l7rule list no")), [{ id, compare_type: "EQUAL_TO", type: "HEADER" }]);
  await alice.quiet(...lb("l7rule delete no"), String(id));
  await alice.quiet(...lb("l7policy delete prefix"));
  t.same(await positions(), ["to", "go", "no"]);
});

t.test("statistics, the tree of statuses, failover, amphorae and quotas", async (t) => {
  t.match(await alice.one(...lb("stats show web")), { active_connections: 0, bytes_in: 0, request_errors: 0 });
  t.match(await alice.one(...lb("listener stats show http")), { total_connections: 0 });
  const { stdout } = await alice.run(...lb("status show web"));
  const [tree] = JSON.parse(stdout).loadbalancer.listeners;
  t.match(tree, { name: "http", pools: [{ name: "p", members: [{ address: "10.9.0.10" }] }, { name: "spare" }] });
  t.match(await alice.failing(...lb("failover web")), /\(HTTP 403\)/);
  await admin.quiet(...lb("failover web"));
  t.same(await admin.many(...lb("amphora list --loadbalancer web")), []);
  t.match(await alice.failing(...lb("amphora list")), /\(HTTP 403\)/);

  t.match(await alice.one(...lb("quota defaults show")), { load_balancer: -1, l7rule: -1 });
  t.match(await admin.one(...lb("quota set --loadbalancer 3 --member 1 alpha")), { load_balancer: 3, member: 1 });
  t.match(await alice.one(...lb("quota show"), cloud.projects.alpha), { load_balancer: 3, member: 1 });
  t.match(await admin.many(...lb("quota list")), [{ project_id: cloud.projects.alpha, load_balancer: 3 }]);
  const more = await alice.failing(...lb("create --name more --vip-subnet-id web"));
  t.match(more, /^Quota has been met for resources: Load Balancer \(HTTP 403\)/);
  await admin.run(...lb("quota unset --member alpha"));
  await admin.quiet(...lb("quota reset alpha"));
  t.match(await alice.one(...lb("quota show"), cloud.projects.alpha), { load_balancer: -1, member: -1 });
});

t.test("what is refused says why, and a script sees it by the exit code", async (t) => {
  t.match(await alice.failing(...lb("delete web")), /has children.*\(HTTP 400\)/);
  const twice = await alice.failing(...lb("listener create --protocol HTTP --protocol-port 80 web"));
  t.match(twice, /\(HTTP 409\)/);
  const bad = await openstack(cloud.environment("alice"), ...lb("listener set --connection-limit 0 http"));
  t.match(bad, { exitCode: 1, stdout: "", stderr: /connection_limit.*at least 1.*\(HTTP 400\)/ });
  const login = { ...cloud.environment("alice"), OS_AUTH_TYPE: "v3token", OS_TOKEN: "gAAAAA" };
  t.match((await openstack(login, ...lb("list"))).exitCode, 1);
});

t.test("everything is deleted, part by part and at once", async (t) => {
  await alice.quiet(...lb("member delete --wait p m"));
  await alice.quiet(...lb("healthmonitor delete h"));
  for (const name of ["to", "go", "no"]) await alice.quiet(...lb("l7policy delete"), name);
  await alice.quiet(...lb("pool delete p"));
  await alice.quiet(...lb("listener delete http"));
  await alice.quiet(...lb("delete --cascade --wait web"));
  for (const name of ["other", "third"]) await alice.quiet(...lb("delete"), name);
  t.same(await alice.many(...lb("list")), []);
  for (const kind of ["flavor ha", "flavorprofile pairs", "availabilityzone az", "availabilityzoneprofile one"]) {
    const [noun = "", name = ""] = kind.split(" ");
    await admin.quiet(...lb(noun, "delete", name));
  }
  t.same(await admin.many(...lb("flavor list")), []);
});
