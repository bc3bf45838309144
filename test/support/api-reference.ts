/** What the API's reference shows of the objects in answers: their names and kinds count, not their values. */
import type { Json } from "./api.ts";

const ID = "607226db-27ef-4d41-ae89-f2a800e9c2db";
const TIME = "2022-04-25T07:42:44";
const PROJECT = "250a86f0dcc9467285fa8af54457e885";

const owned = {
  id: ID,
  name: "demo",
  provisioning_status: "PENDING_CREATE",
  operating_status: "OFFLINE",
  admin_state_up: true,
  project_id: PROJECT,
  created_at: TIME,
  updated_at: TIME,
  tags: [],
  tenant_id: PROJECT,
};

const tls = { tls_ciphers: null, tls_versions: null, alpn_protocols: null };

/** By root key. */
export const SHOWN = {
  loadbalancer: {
    ...owned,
    description: "This a demo loadbalancer.",
    vip_address: "192.168.1.3",
    vip_port_id: ID,
    vip_subnet_id: ID,
    vip_network_id: ID,
    listeners: [{ id: ID }],
    pools: [{ id: ID }],
    provider: "amphora",
    flavor_id: ID,
    vip_qos_policy_id: null,
    availability_zone: "default_az",
    lvs_tcp_timeout: 300,
    lvs_tcpfin_timeout: 120,
    lvs_udp_timeout: 300,
  },
  listener: {
    ...owned,
    ...tls,
    description: "",
    protocol: "HTTP",
    protocol_port: 80,
    connection_limit: -1,
    default_tls_container_ref: null,
    sni_container_refs: [],
    default_pool_id: null,
    l7policies: [],
    insert_headers: {},
    loadbalancers: [{ id: ID }],
    timeout_client_data: 50_000,
    timeout_member_connect: 5000,
    timeout_member_data: 50_000,
    timeout_tcp_inspect: 0,
    client_ca_tls_container_ref: null,
    client_authentication: "NONE",
    client_crl_container_ref: null,
    allowed_cidrs: null,
    redirect_listener_id: null,
  },
  pool: {
    ...owned,
    ...tls,
    description: "demo pool create test.",
    protocol: "HTTP",
    lb_algorithm: "ROUND_ROBIN",
    session_persistence: null,
    loadbalancers: [{ id: ID }],
    listeners: [{ id: ID }],
    l7policies: [],
    healthmonitor_id: ID,
    members: [{ id: ID }],
    tls_container_ref: null,
    ca_tls_container_ref: null,
    crl_container_ref: null,
    tls_enabled: false,
  },
  member: {
    ...owned,
    address: "192.168.0.22",
    protocol_port: 80,
    weight: 2,
    backup: false,
    subnet_id: null,
    monitor_address: null,
    monitor_port: 80,
  },
  healthmonitor: {
    ...owned,
    type: "HTTP",
    delay: 3,
    timeout: 4,
    max_retries: 3,
    max_retries_down: 3,
    http_method: "GET",
    url_path: "/",
    expected_codes: "200",
    pools: [{ id: ID }],
    http_version: null,
    domain_name: null,
  },
} as const;

/** Statistics of load balancers and of listeners. */
export const STATS = { bytes_in: 344, bytes_out: 3988, active_connections: 0, total_connections: 4, request_errors: 0 };

/** What an object lacks of what the reference shows, or has of another kind. Null goes for any kind. */
export function differences(found: Json, shown: Json): string[] {
  return Object.entries(shown).flatMap(([key, example]) => {
    if (!Object.hasOwn(found, key)) return [`${key} is missing`];
    const value = found[key];
    if (value === null || example === null || kind(value) === kind(example)) return [];
    return [`${key} is ${kind(value)}, not ${kind(example)}`];
  });
}

function kind(value: unknown): string {
  return Array.isArray(value) ? "list" : typeof value;
}
