/** From the tree in the store to the document that an amphora is made from. Pure. */
import { isIpvs } from "../../templates/fields.ts";
import type { AmphoraSpecInput } from "../../templates/spec.ts";
import type { TlsMaterial } from "../certificates/tls.ts";
import type { Port } from "../drivers/network.ts";
import type { Amphora } from "../model/amphora.ts";
import type { Topology } from "../model/flavor-profile.ts";
import { type TlsUse, usesOfListener, usesOfPool } from "../model/tls-references.ts";
import type { ListenerTree, PoolTree, Tree } from "../store/tree.ts";

type ListenerInput = NonNullable<AmphoraSpecInput["listeners"]>[number];
type PoolInput = NonNullable<AmphoraSpecInput["pools"]>[number];

/** The name of the tenant's first interface inside an amphora. */
export const VIP_INTERFACE = "eth1";

/** What an amphora is told besides the tree: who it is, where it stands, and with whom. */
export interface Standing {
  readonly amphora: Pick<Amphora, "id" | "role" | "vrrp_id" | "vrrp_priority">;
  /** its own, on the subnets that `subnetsOf` names, in that order */
  readonly ports: readonly Port[];
  /** addresses that go with the VIPs, on the subnets that `sharedSubnetsOf` names */
  readonly shared: readonly Port[];
  /** every amphora that serves, this one among them, each at its port on the VIP's subnet */
  readonly group: readonly GroupMember[];
  /** whether it is not to hold the VIPs: it is about to go, or another that is has them still */
  readonly standby: boolean;
  readonly topology: Topology;
  /** what `tlsUsesOf` the tree lead to */
  readonly tls: TlsMaterial;
  readonly advertIntervalMs: number;
  readonly forwarding: "DIRECT" | "TUNNEL";
}

export interface GroupMember {
  readonly amphora: Pick<Amphora, "id" | "vrrp_priority" | "retiring">;
  readonly port: Port;
}

/** The subnets that an amphora needs an address on: the VIP's first, those of further VIPs, those that members name. */
export function subnetsOf({ loadBalancer, pools }: Tree): string[] {
  const additional = loadBalancer.additional_vips.map(({ subnet_id }) => subnet_id);
  const ofMembers = pools.flatMap(({ members }) => members.flatMap(({ subnet_id }) => subnet_id ?? []));
  return [...new Set([loadBalancer.vip_subnet_id, ...additional, ...ofMembers.sort()])];
}

/**
 * The subnets where members of IPVS listeners are and no VIP is: a pair has an address on each that goes with the VIPs, so
 * that members know their connections again after a failover.
 */
export function sharedSubnetsOf({ loadBalancer, listeners, pools }: Tree): string[] {
  if (!listeners.some(({ listener }) => isIpvs(listener.protocol))) return [];
  const vips = new Set([loadBalancer.vip_subnet_id, ...loadBalancer.additional_vips.map(({ subnet_id }) => subnet_id)]);
  const ofMembers = pools
    .filter(({ pool }) => isIpvs(pool.protocol))
    .flatMap(({ members }) => members.flatMap(({ subnet_id }) => subnet_id ?? []));
  return [...new Set(ofMembers.sort())].filter((id) => !vips.has(id));
}

/** What the TLS of a load balancer refers to. */
export function tlsUsesOf({ listeners, pools }: Tree): TlsUse[] {
  return [
    ...listeners.flatMap(({ listener }) =>
      listener.protocol === "TERMINATED_HTTPS" ? usesOfListener(listener, listener.id) : [],
    ),
    ...pools.flatMap(({ pool }) => (pool.tls_enabled ? usesOfPool(pool, pool.id) : [])),
  ];
}

export function specOf(tree: Tree, standing: Standing): AmphoraSpecInput {
  const { loadBalancer } = tree;
  const { amphora, ports, tls } = standing;
  const [vrrp, replicas] = [vrrpSpec(standing), replicasSpec(standing)];
  // one that is replaced by a pair is none
  const shared = vrrp === null || replicas !== null ? [] : standing.shared;
  return {
    revision: loadBalancer.revision,
    amphora_id: amphora.id,
    loadbalancer_id: loadBalancer.id,
    role: amphora.role,
    standby: standing.standby,
    vrrp,
    replicas,
    admin_state_up: loadBalancer.admin_state_up,
    interfaces: ports.map((port, i) => ({
      name: i === 0 ? VIP_INTERFACE : interfaceName(port),
      mac: port.mac,
      mtu: port.mtu,
      addresses: [`${port.address}/${port.prefix_length}`],
      routes: isWayOut(ports, i)
        ? [{ destination: port.address.includes(":") ? "::/0" : "0.0.0.0/0", via: port.gateway }]
        : [],
      ...sharedOn(port, shared),
    })),
    vips: [loadBalancer.vip_address, ...loadBalancer.additional_vips.flatMap(({ ip_address }) => ip_address ?? [])],
    lvs_tcp_timeout: loadBalancer.lvs_tcp_timeout,
    lvs_tcpfin_timeout: loadBalancer.lvs_tcpfin_timeout,
    lvs_udp_timeout: loadBalancer.lvs_udp_timeout,
    certificates: certificates(tls),
    listeners: tree.listeners.map((each) => listenerSpec(each, tls)),
    pools: tree.pools.map((each) => poolSpec(each, tls)),
  };
}

/** Left out when there are none: agents of earlier versions do not know of them. */
function sharedOn({ subnet_id }: Port, shared: readonly Port[]): { shared_addresses?: string[] } {
  const addresses = shared.filter((each) => each.subnet_id === subnet_id).map(({ address }) => address);
  return addresses.length === 0 ? {} : { shared_addresses: addresses };
}

/** The same as long as the port is, whichever others come and go: a link must be taken down to be renamed. */
function interfaceName({ mac }: Port): string {
  return `e${mac.replaceAll(":", "")}`;
}

/** The first port of each family: the gateway of its subnet leads to everywhere else. */
function isWayOut(ports: readonly Port[], index: number): boolean {
  const isV6 = (port: Port | undefined) => port?.address.includes(":");
  return ports.findIndex((each) => isV6(each) === isV6(ports[index])) === index;
}

function vrrpSpec({ amphora, group, advertIntervalMs }: Standing): AmphoraSpecInput["vrrp"] {
  const { id, vrrp_id, vrrp_priority } = amphora;
  if (vrrp_id === null || vrrp_priority === null) return null;
  const others = group.filter((each) => each.amphora.id !== id);
  const peers = others.map((each) => ({ amphora_id: each.amphora.id, address: each.port.address }));
  return { id: vrrp_id, priority: vrrp_priority, advert_interval_ms: advertIntervalMs, peers };
}

/** One that is about to go has its own slot for itself until then; among the others it is its successor's. */
function replicasSpec({ topology, forwarding, group, amphora: self }: Standing): AmphoraSpecInput["replicas"] {
  if (topology !== "ACTIVE_ACTIVE" || self.vrrp_priority === null) return null;
  const staying = group.filter(({ amphora }) =>
    amphora.id === self.id ? true : !amphora.retiring && amphora.vrrp_priority !== self.vrrp_priority,
  );
  const members = staying.flatMap(({ amphora: { id, vrrp_priority: slot }, port: { address, mac } }) =>
    slot === null ? [] : [{ amphora_id: id, slot, address, mac }],
  );
  return { forwarding, members };
}

/** Several references may lead to one certificate. */
function certificates(tls: TlsMaterial): AmphoraSpecInput["certificates"] {
  const byId = new Map([...tls.certificates.values()].map((each) => [each.id, each]));
  return [...byId.values()].map(({ id, certificate, private_key }) => ({ id, certificate, private_key }));
}

function listenerSpec({ listener: row, policies }: ListenerTree, tls: TlsMaterial): ListenerInput {
  const headers = Object.entries(row.insert_headers) as [keyof typeof row.insert_headers, string][];
  return {
    id: row.id,
    admin_state_up: row.admin_state_up,
    protocol: row.protocol,
    protocol_port: row.protocol_port,
    default_pool_id: row.default_pool_id,
    connection_limit: row.connection_limit,
    timeout_client_data: row.timeout_client_data,
    timeout_member_connect: row.timeout_member_connect,
    timeout_member_data: row.timeout_member_data,
    timeout_tcp_inspect: row.timeout_tcp_inspect,
    allowed_cidrs: row.allowed_cidrs,
    tls: row.protocol === "TERMINATED_HTTPS" ? listenerTls(row, tls) : null,
    insert_headers: headers.flatMap(([name, wanted]) => (wanted === "true" ? [name] : [])),
    redirect_listener_id: row.redirect_listener_id,
    l7policies: policies.map(({ policy, rules }) => ({
      id: policy.id,
      admin_state_up: policy.admin_state_up,
      action: policy.action,
      redirect_pool_id: policy.redirect_pool_id,
      redirect_url: policy.redirect_url,
      redirect_prefix: policy.redirect_prefix,
      ...(policy.redirect_http_code === null ? {} : { redirect_http_code: policy.redirect_http_code }),
      rules: rules.map((rule) => ({
        id: rule.id,
        admin_state_up: rule.admin_state_up,
        type: rule.type,
        compare_type: rule.compare_type,
        key: rule.key,
        value: rule.value,
        invert: rule.invert,
      })),
    })),
  };
}

/** The default certificate comes first: it is for clients that name no host. */
function listenerTls(row: ListenerTree["listener"], tls: TlsMaterial): ListenerInput["tls"] {
  const references = [row.default_tls_container_ref ?? [], row.sni_container_refs].flat();
  return {
    certificate_ids: [...new Set(references.flatMap((reference) => tls.certificates.get(reference)?.id ?? []))],
    client_authentication: row.client_authentication,
    client_ca: text(row.client_ca_tls_container_ref, tls),
    client_crl: text(row.client_crl_container_ref, tls),
    hsts_max_age: row.hsts_max_age,
    hsts_include_subdomains: row.hsts_include_subdomains,
    hsts_preload: row.hsts_preload,
    ciphers: row.tls_ciphers,
    versions: row.tls_versions,
    alpn_protocols: row.alpn_protocols,
  };
}

function poolTls(row: PoolTree["pool"], tls: TlsMaterial): PoolInput["tls"] {
  return {
    certificate_id: row.tls_container_ref === null ? null : (tls.certificates.get(row.tls_container_ref)?.id ?? null),
    ca: text(row.ca_tls_container_ref, tls),
    crl: text(row.crl_container_ref, tls),
    ciphers: row.tls_ciphers,
    versions: row.tls_versions,
    alpn_protocols: row.alpn_protocols,
  };
}

function text(reference: string | null, { texts }: TlsMaterial): string | null {
  return reference === null ? null : (texts.get(reference) ?? null);
}

function poolSpec({ pool, members, healthMonitor }: PoolTree, tls: TlsMaterial): PoolInput {
  return {
    id: pool.id,
    admin_state_up: pool.admin_state_up,
    protocol: pool.protocol,
    lb_algorithm: pool.lb_algorithm,
    session_persistence: persistence(pool),
    tls: pool.tls_enabled ? poolTls(pool, tls) : null,
    members: members.map((row) => ({
      id: row.id,
      admin_state_up: row.admin_state_up,
      address: row.address,
      protocol_port: row.protocol_port,
      weight: row.weight,
      backup: row.backup,
      monitor_address: row.monitor_address,
      monitor_port: row.monitor_port,
    })),
    health_monitor:
      healthMonitor === null
        ? null
        : {
            id: healthMonitor.id,
            admin_state_up: healthMonitor.admin_state_up,
            type: healthMonitor.type,
            delay: healthMonitor.delay,
            timeout: healthMonitor.timeout,
            max_retries: healthMonitor.max_retries,
            max_retries_down: healthMonitor.max_retries_down,
            domain_name: healthMonitor.domain_name,
            ...httpCheck(healthMonitor),
          },
  };
}

function persistence({ session_persistence: given }: PoolTree["pool"]): PoolInput["session_persistence"] {
  if (given === null) return null;
  const { type, cookie_name, persistence_timeout, persistence_granularity } = given;
  return {
    type,
    cookie_name,
    persistence_granularity,
    ...(persistence_timeout === null ? {} : { persistence_timeout }),
  };
}

/** What a monitor without HTTP leaves out, so that the spec's defaults stand. */
function httpCheck(row: NonNullable<PoolTree["healthMonitor"]>) {
  return {
    ...(row.http_method === null ? {} : { http_method: row.http_method }),
    ...(row.http_version === null ? {} : { http_version: row.http_version }),
    ...(row.url_path === null ? {} : { url_path: row.url_path }),
    ...(row.expected_codes === null ? {} : { expected_codes: row.expected_codes }),
  };
}
