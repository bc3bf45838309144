/** Where each resource is written, with what, and what its attributes can never be: from their declarations. */
import type { Attribute } from "../../controller/model/attribute.ts";
import { availabilityZone } from "../../controller/model/availability-zone.ts";
import { availabilityZoneProfile } from "../../controller/model/availability-zone-profile.ts";
import { flavor } from "../../controller/model/flavor.ts";
import { flavorProfile } from "../../controller/model/flavor-profile.ts";
import { healthMonitor } from "../../controller/model/health-monitor.ts";
import { l7policy } from "../../controller/model/l7policy.ts";
import { l7rule } from "../../controller/model/l7rule.ts";
import { listener } from "../../controller/model/listener.ts";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import { member } from "../../controller/model/member.ts";
import { pool } from "../../controller/model/pool.ts";
import type { Resource } from "../../controller/model/resource.ts";
import type { Graph, Json, TestApi } from "./api.ts";

export interface Place {
  readonly resource: Resource;
  /** what POST to `list` makes one of */
  readonly valid: Json;
  readonly list: string;
  /** one that is there */
  readonly one: string;
}

/** Every resource of a project. */
export function placesOf({
  lb,
  listener: listenerId,
  pool: poolId,
  lonely,
  member: memberId,
  monitor,
  policy,
  rule,
}: Graph): Place[] {
  const members = `/pools/${lonely}/members`;
  return [
    { resource: loadBalancer, list: "/loadbalancers", one: `/loadbalancers/${lb}`, valid: {} },
    {
      resource: listener,
      list: "/listeners",
      one: `/listeners/${listenerId}`,
      valid: { loadbalancer_id: lb, protocol: "HTTP", protocol_port: 8088 },
    },
    {
      resource: pool,
      list: "/pools",
      one: `/pools/${poolId}`,
      valid: { loadbalancer_id: lb, protocol: "HTTP", lb_algorithm: "ROUND_ROBIN" },
    },
    {
      resource: member,
      list: members,
      one: `/pools/${poolId}/members/${memberId}`,
      valid: { address: "10.0.0.1", protocol_port: 80 },
    },
    {
      resource: healthMonitor,
      list: "/healthmonitors",
      one: `/healthmonitors/${monitor}`,
      valid: { pool_id: lonely, type: "HTTP", delay: 5, timeout: 4, max_retries: 3 },
    },
    {
      resource: l7policy,
      list: "/l7policies",
      one: `/l7policies/${policy}`,
      valid: { listener_id: listenerId, action: "REJECT" },
    },
    {
      resource: l7rule,
      list: `/l7policies/${policy}/rules`,
      one: `/l7policies/${policy}/rules/${rule}`,
      valid: { type: "PATH", compare_type: "EQUAL_TO", value: "/x" },
    },
  ];
}

/** Every resource of the deployment, each there once, and none of them in use but the profiles of the first ones. */
export async function cataloguePlaces(api: TestApi): Promise<Place[]> {
  const profile = { name: "p", provider_name: "amphora", flavor_data: {} };
  const zoneProfile = { name: "p", provider_name: "amphora", availability_zone_data: {} };
  const profiles = "/flavorprofiles";
  const zoneProfiles = "/availabilityzoneprofiles";
  const { id: used } = await api.create("flavorprofile", profiles, profile);
  const { id: unused } = await api.create("flavorprofile", profiles, profile);
  const { id: usedPlace } = await api.create("availability_zone_profile", zoneProfiles, zoneProfile);
  const { id: unusedPlace } = await api.create("availability_zone_profile", zoneProfiles, zoneProfile);
  const aFlavor = { name: "f", flavor_profile_id: used };
  const { id: flavorId } = await api.create("flavor", "/flavors", aFlavor);
  const zone = { name: "z", availability_zone_profile_id: usedPlace };
  await api.create("availability_zone", "/availabilityzones", zone);
  return [
    { resource: flavorProfile, list: profiles, one: `${profiles}/${unused}`, valid: profile },
    {
      resource: availabilityZoneProfile,
      list: zoneProfiles,
      one: `${zoneProfiles}/${unusedPlace}`,
      valid: zoneProfile,
    },
    { resource: flavor, list: "/flavors", one: `/flavors/${flavorId}`, valid: { ...aFlavor, name: "g" } },
    {
      resource: availabilityZone,
      list: "/availabilityzones",
      one: "/availabilityzones/z",
      valid: { ...zone, name: "y" },
    },
  ];
}

/** The attributes that a client may give at creation, or may change. */
export function writable(resource: Resource, when: "create" | "always"): [string, Attribute][] {
  return Object.entries(resource.attributes).filter(([, { write }]) => write === "always" || write === when);
}

/** Values that the attribute can never have. @throws when nothing is known of an attribute of that name */
export function badValues(name: string, attribute: Attribute): unknown[] {
  const kind = DATA.includes(name) ? NO_DATA : OF_KIND[attribute.column ?? "text"];
  const own = attribute.column === "boolean" ? [] : OF_NAME[name];
  if (own === undefined) throw new Error(`there are no bad values for the attribute ${name}: add some`);
  const missing = attribute.nullable || attribute.default !== undefined ? [] : [null];
  const empty = attribute.required && attribute.column === "text" ? [""] : [];
  return [...kind, ...own, ...missing, ...empty];
}

const unprintable = ["\0", "a\0b", "a\nb", "a\rb", "\t", "\u001b[0m", "\u007f", "\ud800", "a\udfff"];
const OF_KIND: Readonly<Record<NonNullable<Attribute["column"]>, readonly unknown[]>> = {
  text: [0, 1.5, true, [], {}, ["x"], { toString: 1 }, "x".repeat(10_000), ...unprintable],
  integer: [1.5, "", "x", "1.5", "1e3", " 1", "0x10", "+1", true, [], {}, [1], -1e9, 1e12, 1e300, "9".repeat(30)],
  real: ["", "x", true, [], {}, [1], -1, 1e300],
  boolean: ["", "true", "yes", 0, 1, 0.5, [], {}, [true]],
  json: ["x", 1, true, { 0: "x" }, [1], [null], [""], [["x"]], [{}]],
};

/** Attributes that are an object, or JSON text of one. */
const DATA: readonly string[] = ["flavor_data", "availability_zone_data"];
const NO_DATA: readonly unknown[] = [
  ...[0, 1.5, true, [], ["x"], { toString: 1 }, { nonsense: "x" }, { x: "y".repeat(10_000) }],
  ...["", "x", "{", "{}}", "null", "[]", "1", '"x"', "{'x': 1}", '{"nonsense": 1}', '{"__proto__": {}}'],
  ...unprintable,
];

const wordLists = [["x", "x"], ["x".repeat(256)], ...unprintable.map((text) => [text])];
const refs = [
  "",
  "x",
  "x".repeat(256),
  "/secrets/x",
  "https://example.org/orders/5b1f6a2e-7d34-4c0b-9a51-0e77a4c5d001",
];
const urls = ["", "x", "/x", "ftp://x/", "http://", "http://a b/", "http://ä/", "//x/", `http://x/${"x".repeat(250)}`];
const ports = [0, -1, 65_536, "0", "65536"];
const milliseconds = [-1, 2 ** 31, "-1", "2147483648"];
const idleSeconds = [0, -1, 31 * 86_400 + 1];
const checkSeconds = [0, -1, 2_147_484];
const retries = [0, -1, 11];
const choices = ["", "NO_SUCH", "http", " HTTP", "HTTP "];
const uuids = ["", "x", "5B1F6A2E-7D34-4C0B-9A51-0E77A4C5D001", "5b1f6a2e7d344c0b9a510e77a4c5d001", "{}"];
const addresses = [
  "",
  "x",
  "10.0.0",
  "10.0.0.256",
  "010.0.0.1",
  "10.0.0.0/24",
  "10.0.0.1 ",
  "fe80::1%eth0",
  ":::",
  "1",
];

const OF_NAME: Readonly<Record<string, readonly unknown[]>> = {
  tags: [{}, ...wordLists, Array.from({ length: 51 }, String)],
  additional_vips: [{}, [{ subnet_id: "x" }], [{ ip_address: "10.77.0.9" }], [{ subnet_id: null }]],
  default_tls_container_ref: refs,
  sni_container_refs: [{}, Array.from({ length: 101 }, String), ...wordLists.slice(1)],
  client_ca_tls_container_ref: refs,
  client_crl_container_ref: refs,
  tls_container_ref: refs,
  ca_tls_container_ref: refs,
  crl_container_ref: refs,
  client_authentication: choices,
  insert_headers: [
    { "X-Forwarded-for": "true" },
    { "X-Forwarded-For": "maybe" },
    { "X-Forwarded-For": 1 },
    { "a\n": "true" },
  ],
  allowed_cidrs: [{}, ["10.0.0.1"], ["10.0.0.0/33"], ["10.0.0.0/24", "10.0.0.0/24"], ["10.0.0.0/24\n"]],
  tls_ciphers: ["", "a b", "a::b", ":", "a;b", "x".repeat(2049), "HIGH:!HIGH", "HIGH:@NOTHING", "TLS_SHA256_SHA256"],
  tls_versions: [[], {}, ["TLSv1.4"], ["TLSv1.2", "TLSv1.2"], ["tlsv1.2"], ["SSLv3"], ["TLSv1.1", "TLSv1.3"]],
  alpn_protocols: [[], {}, ["h3"], ["h2", "h2"]],
  redirect_listener_id: uuids,
  hsts_max_age: [-1, 2 ** 31],
  session_persistence: [
    {},
    { type: "COOKIE" },
    { type: "SOURCE_IP", timeout: 1 },
    { type: "APP_COOKIE", cookie_name: "a b" },
    { type: "APP_COOKIE", cookie_name: "a\n" },
    { type: "SOURCE_IP", persistence_timeout: 0 },
    { type: "SOURCE_IP", persistence_granularity: "255.0.255.0" },
    { type: "APP_COOKIE" },
    { type: "SOURCE_IP", cookie_name: "x" },
    { type: "SOURCE_IP", persistence_timeout: 5 },
  ],
  action: choices,
  redirect_pool_id: uuids,
  redirect_url: urls,
  redirect_prefix: urls,
  redirect_http_code: [200, 300, 304, 309],
  position: [0, -1, 2 ** 31],
  compare_type: choices,
  key: ["", "a b", "a:b", "x".repeat(256)],
  value: ["", "x".repeat(256)],
  flavor_profile_id: [...uuids, "00000000-0000-0000-0000-000000000000"],
  availability_zone_profile_id: [...uuids, "00000000-0000-0000-0000-000000000000"],
  provider_name: ["", "vmware", "Amphora"],
  flavor_data: [
    { loadbalancer_topology: "TRIPLE" },
    { loadbalancer_topology: null },
    { loadbalancer_topology: "ACTIVE_ACTIVE" },
    { loadbalancer_topology: "ACTIVE_ACTIVE", replicas: 1 },
    { loadbalancer_topology: "ACTIVE_ACTIVE", replicas: 11 },
    { loadbalancer_topology: "ACTIVE_ACTIVE", replicas: 2.5 },
    { loadbalancer_topology: "ACTIVE_STANDBY", replicas: 2 },
    { replicas: 2 },
    { compute_flavor: "600" },
    { compute_flavor: 601 },
    { amp_volume_type: "" },
    { amp_volume_type: "a\nb" },
    '{"loadbalancer_topology": "TRIPLE"}',
    '{"replicas": 2}',
    '{"compute_flavor": "600"}',
  ],
  availability_zone_data: [
    { cpu_arch: "riscv64" },
    { cpu_arch: null },
    { compute_zone: "" },
    { compute_zone: "x".repeat(256) },
    { network_zone: 1 },
    { network_zone: "a\0" },
    '{"cpu_arch": "riscv64"}',
  ],
  name: ["x".repeat(256)],
  description: ["x".repeat(256)],
  availability_zone: ["x".repeat(256)],
  project_id: ["", "a b", "a/b", "ä", "'", "x".repeat(65)],
  vip_address: addresses,
  address: addresses,
  monitor_address: addresses,
  vip_port_id: uuids,
  vip_subnet_id: uuids,
  vip_network_id: uuids,
  flavor_id: uuids,
  vip_qos_policy_id: uuids,
  loadbalancer_id: uuids,
  listener_id: uuids,
  default_pool_id: uuids,
  pool_id: uuids,
  subnet_id: uuids,
  provider: ["", "vmware", "Amphora"],
  protocol: choices,
  lb_algorithm: choices,
  type: choices,
  http_method: ["", "get", "BREW", "GET "],
  protocol_port: ports,
  monitor_port: ports,
  weight: [-1, 257],
  connection_limit: [0, -2, 2 ** 31],
  timeout_client_data: milliseconds,
  timeout_member_connect: milliseconds,
  timeout_member_data: milliseconds,
  timeout_tcp_inspect: milliseconds,
  lvs_tcp_timeout: idleSeconds,
  lvs_tcpfin_timeout: idleSeconds,
  lvs_udp_timeout: idleSeconds,
  delay: checkSeconds,
  timeout: checkSeconds,
  max_retries: retries,
  max_retries_down: retries,
  url_path: ["", "x", "x/", "/a b", "/ä", "/x".repeat(128), "http://x/"],
  expected_codes: ["", "20", "2000", "200-", "-200", "600", "099", "204-200", "200;201", "200, 201", "200-204-206"],
  http_version: [0, 1.2, 2, 11],
  domain_name: ["", "-a", "a-", "a_b", "a..b", ".a", "a b", "ä.org", "x".repeat(64), "a/b"],
};
