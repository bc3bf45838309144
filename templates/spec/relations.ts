/** The rules that span several objects: unique ids, ports and addresses, references that resolve, what goes with what. */
import { isIPv6 } from "node:net";
import ipaddr from "ipaddr.js";
import {
  INSERT_HEADERS,
  isHttp,
  isIpvs,
  MONITORS_OF_POOLS,
  POOLS_OF_LISTENERS,
  type PoolProtocol,
  splitCiphers,
  TRANSPORTS,
} from "../fields.ts";
import { isInSubnet } from "../vips.ts";
import type {
  AmphoraSpec,
  HealthMonitorSpec,
  InterfaceSpec,
  L7PolicySpec,
  L7RuleSpec,
  ListenerSpec,
  PoolSpec,
} from "./document.ts";
import { checkGroup } from "./group.ts";

/** What is wrong with a spec, and where: `path` such as `pools[0].members[2].weight`. */
export interface SpecProblem {
  readonly path: string;
  readonly message: string;
}

/** What the checks of the parts know of the whole. */
interface Whole {
  readonly vips: readonly string[];
  readonly listeners: ReadonlyMap<string, ListenerSpec>;
  readonly pools: ReadonlyMap<string, PoolSpec>;
  readonly certificates: ReadonlySet<string>;
  /** what was seen under an id or other key, and where first */
  readonly ids: Map<string, string>;
  readonly report: (path: string, message: string) => void;
}

/** Everything that the schema of each part alone can't see. */
export function relationProblems(spec: AmphoraSpec): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const report = (path: string, message: string) => problems.push({ path, message });
  const byId = <T extends { readonly id: string }>(all: readonly T[]) => new Map(all.map((each) => [each.id, each]));
  const whole: Whole = {
    vips: spec.vips,
    listeners: byId(spec.listeners),
    pools: byId(spec.pools),
    certificates: new Set(spec.certificates.map(({ id }) => id)),
    ids: new Map(),
    report,
  };
  checkInterfaces(spec.interfaces, whole);
  checkGroup(spec, report);
  const vips = new Map<string, string>();
  spec.vips.forEach((vip, i) => {
    unique(whole, vips, canonical(vip), `vips[${i}]`, "address");
  });
  spec.interfaces.forEach(({ addresses, shared_addresses: shared }, i) => {
    shared.forEach((address, j) => {
      const path = `interfaces[${i}].shared_addresses[${j}]`;
      unique(whole, vips, canonical(address), path, "address");
      if (!addresses.some((prefix) => isInSubnet(address, prefix)))
        report(path, `${address} is in no subnet of its own`);
    });
  });
  spec.certificates.forEach(({ id }, i) => {
    unique(whole, whole.ids, id, `certificates[${i}].id`, "id");
  });
  const ports = new Map<string, string>();
  spec.listeners.forEach((each, i) => {
    const path = `listeners[${i}]`;
    unique(whole, whole.ids, each.id, `${path}.id`, "id");
    unique(whole, ports, `${each.protocol_port}/${TRANSPORTS[each.protocol]}`, `${path}.protocol_port`, "port");
    checkListener(each, path, whole);
  });
  spec.pools.forEach((each, i) => {
    checkPool(each, `pools[${i}]`, whole);
  });
  return problems;
}

function unique({ report }: Whole, seen: Map<string, string>, key: string, path: string, what: string): void {
  const first = seen.get(key);
  if (first === undefined) seen.set(key, path);
  else report(path, `${what} ${key} is used by ${first} already`);
}

/** The one spelling of an address: IPv6 has many. */
function canonical(address: string): string {
  return ipaddr.parse(address).toString();
}

function checkInterfaces(interfaces: readonly InterfaceSpec[], whole: Whole): void {
  const names = new Map<string, string>();
  const macs = new Map<string, string>();
  interfaces.forEach((each, i) => {
    const path = `interfaces[${i}]`;
    unique(whole, names, each.name, `${path}.name`, "name");
    unique(whole, macs, each.mac, `${path}.mac`, "address");
    each.routes.forEach(({ destination, via }, j) => {
      if (destination.includes(":") === via.includes(":")) return;
      whole.report(`${path}.routes[${j}].via`, `${via} can't lead to ${destination}: one is IPv4, the other IPv6`);
    });
  });
}

function checkListener(listener: ListenerSpec, path: string, whole: Whole): void {
  const { protocol, report } = { ...listener, ...whole };
  checkPoolReference(listener, listener.default_pool_id, `${path}.default_pool_id`, whole);
  if (protocol === "TERMINATED_HTTPS" && listener.tls === null) report(`${path}.tls`, "is missing");
  if (protocol !== "TERMINATED_HTTPS" && listener.tls !== null) report(`${path}.tls`, `${protocol} has no TLS`);
  listener.tls?.certificate_ids.forEach((id, i) => {
    if (!whole.certificates.has(id)) report(`${path}.tls.certificate_ids[${i}]`, `there is no certificate ${id}`);
  });
  if (listener.tls !== null && listener.tls.client_authentication !== "NONE" && listener.tls.client_ca === null) {
    report(`${path}.tls.client_ca`, `is missing: client_authentication is ${listener.tls.client_authentication}`);
  }
  if (listener.tls?.client_crl && !listener.tls.client_ca)
    report(`${path}.tls.client_ca`, "is missing: there is a CRL");
  checkVersions(listener, path, whole);
  listener.insert_headers.forEach((name, i) => {
    if (!isHttp(protocol)) report(`${path}.insert_headers[${i}]`, `${protocol} has no headers`);
    else if (INSERT_HEADERS[name].tls && protocol === "HTTP") {
      report(`${path}.insert_headers[${i}]`, `${name} is for TERMINATED_HTTPS only`);
    }
  });
  checkRedirect(listener, path, whole);
  if (isIpvs(protocol)) checkFamilies(listener, path, whole);
  if (listener.l7policies.length > 0 && !isHttp(protocol)) report(`${path}.l7policies`, `${protocol} has no policies`);
  listener.l7policies.forEach((policy, i) => {
    checkPolicy(listener, policy, `${path}.l7policies[${i}]`, whole);
  });
}

function checkVersions({ tls }: ListenerSpec | PoolSpec, path: string, whole: Whole): void {
  const fault = tls === null ? null : ciphersFault(tls);
  if (fault !== null) whole.report(`${path}.tls.ciphers`, fault);
}

/** What is wrong with ciphers beside versions: the same for a spec and for the REST API. */
export function ciphersFault({ ciphers, versions }: Pick<NonNullable<PoolSpec["tls"]>, "ciphers" | "versions">) {
  if (ciphers === null || versions === null || versions.includes("TLSv1.3")) return null;
  if (splitCiphers(ciphers).ciphers.length > 0) return null;
  return `must name a cipher of ${versions.join(", ")}: these are suites of TLSv1.3`;
}

/** IPVS does not translate between IPv4 and IPv6: a member without a VIP of its own family would never get traffic. */
function checkFamilies({ default_pool_id: id, protocol }: ListenerSpec, path: string, whole: Whole): void {
  for (const { address } of whole.pools.get(id ?? "")?.members ?? []) {
    if (whole.vips.some((vip) => isIPv6(vip) === isIPv6(address))) continue;
    const family = isIPv6(address) ? "IPv6" : "IPv4";
    whole.report(`${path}.default_pool_id`, `has the member ${address}, which ${protocol} needs an ${family} VIP for`);
  }
}

function checkRedirect({ redirect_listener_id: id, protocol }: ListenerSpec, path: string, whole: Whole): void {
  if (id === null) return;
  const target = whole.listeners.get(id);
  const at = `${path}.redirect_listener_id`;
  if (protocol !== "HTTP") whole.report(at, `only HTTP listeners redirect, not ${protocol}`);
  else if (target === undefined) whole.report(at, `there is no listener ${id}`);
  else if (target.protocol !== "TERMINATED_HTTPS") whole.report(at, `${id} is no TERMINATED_HTTPS listener`);
}

function checkPoolReference(
  { protocol }: ListenerSpec,
  id: string | null,
  path: string,
  { pools, report }: Whole,
): void {
  if (id === null) return;
  const target = pools.get(id);
  if (target === undefined) report(path, `there is no pool ${id}`);
  else if (!POOLS_OF_LISTENERS[protocol].includes(target.protocol)) {
    report(path, `a ${protocol} listener can't use a ${target.protocol} pool`);
  }
}

const TARGETS = {
  REDIRECT_TO_POOL: "redirect_pool_id",
  REDIRECT_TO_URL: "redirect_url",
  REDIRECT_PREFIX: "redirect_prefix",
  REJECT: null,
} as const satisfies Record<L7PolicySpec["action"], keyof L7PolicySpec | null>;

function checkPolicy(listener: ListenerSpec, policy: L7PolicySpec, path: string, whole: Whole): void {
  unique(whole, whole.ids, policy.id, `${path}.id`, "id");
  const target = TARGETS[policy.action];
  if (target !== null && policy[target] === null) whole.report(`${path}.${target}`, `is missing: ${policy.action}`);
  if (target === "redirect_pool_id") {
    checkPoolReference(listener, policy.redirect_pool_id, `${path}.redirect_pool_id`, whole);
  }
  policy.rules.forEach((rule, i) => {
    const at = `${path}.rules[${i}]`;
    unique(whole, whole.ids, rule.id, `${at}.id`, "id");
    const fault = ruleFault(rule);
    if (fault !== null) whole.report(`${at}.${fault.field}`, fault.message);
  });
}

const KEYED: readonly L7RuleSpec["type"][] = ["HEADER", "COOKIE", "SSL_DN_FIELD"];

/** What is wrong with a rule by itself: the same for a spec and for the REST API. */
export function ruleFault(
  rule: Pick<L7RuleSpec, "type" | "compare_type" | "key" | "value">,
): { field: "compare_type" | "key" | "value"; message: string } | null {
  const { type, compare_type, key, value } = rule;
  if (KEYED.includes(type) && key === null) return { field: "key", message: `is missing: ${type} needs it` };
  if (!KEYED.includes(type) && key !== null) return { field: "key", message: `means nothing to ${type}` };
  if (type === "SSL_DN_FIELD" && !/^[A-Za-z]{1,16}$/.test(key ?? "")) {
    return { field: "key", message: "must be the short name of a part of a distinguished name, such as CN" };
  }
  if (type === "FILE_TYPE" && compare_type !== "EQUAL_TO" && compare_type !== "REGEX") {
    return { field: "compare_type", message: "must be EQUAL_TO or REGEX for FILE_TYPE" };
  }
  if (type !== "SSL_CONN_HAS_CERT" && type !== "SSL_VERIFY_RESULT") return null;
  if (compare_type !== "EQUAL_TO") return { field: "compare_type", message: `must be EQUAL_TO for ${type}` };
  if (type === "SSL_CONN_HAS_CERT" && value.toLowerCase() !== "true") {
    return { field: "value", message: "must be True for SSL_CONN_HAS_CERT; invert asks for the opposite" };
  }
  if (type === "SSL_VERIFY_RESULT" && !/^\d{1,3}$/.test(value)) {
    return { field: "value", message: "must be a number from 0 to 999 for SSL_VERIFY_RESULT" };
  }
  return null;
}

function checkPool(pool: PoolSpec, path: string, whole: Whole): void {
  const { protocol, tls, health_monitor: monitor, session_persistence: persistence } = pool;
  unique(whole, whole.ids, pool.id, `${path}.id`, "id");
  const addresses = new Map<string, string>();
  pool.members.forEach((one, i) => {
    const at = `${path}.members[${i}]`;
    unique(whole, whole.ids, one.id, `${at}.id`, "id");
    unique(whole, addresses, `${canonical(one.address)} port ${one.protocol_port}`, at, "address");
  });
  if (tls !== null && isIpvs(protocol)) whole.report(`${path}.tls`, `${protocol} has no TLS`);
  if (tls?.certificate_id && !whole.certificates.has(tls.certificate_id)) {
    whole.report(`${path}.tls.certificate_id`, `there is no certificate ${tls.certificate_id}`);
  }
  if (tls?.crl && !tls.ca) whole.report(`${path}.tls.ca`, "is missing: there is a CRL");
  checkVersions(pool, path, whole);
  const unfit = monitor === null ? null : monitorFault(protocol, monitor);
  if (unfit !== null) whole.report(`${path}.health_monitor.${unfit.field}`, unfit.message);
  if (persistence === null) return;
  const fault = persistenceFault(protocol, persistence);
  if (fault !== null) whole.report(`${path}.session_persistence.${fault.field}`, fault.message);
}

/** What is wrong with a monitor of such a pool: the same for a spec and for the REST API. */
export function monitorFault(
  protocol: PoolProtocol,
  { type, http_method }: Pick<HealthMonitorSpec, "type" | "http_method">,
): { field: "type" | "http_method"; message: string } | null {
  const types = MONITORS_OF_POOLS[protocol];
  if (!types.includes(type)) {
    return { field: "type", message: `must be one of ${types.join(", ")} for a ${protocol} pool` };
  }
  // keepalived checks members of those, and knows no other method
  if (!isIpvs(protocol) || http_method === "GET") return null;
  return { field: "http_method", message: `must be GET for a ${protocol} pool` };
}

type Persistence = Pick<NonNullable<PoolSpec["session_persistence"]>, "type" | "cookie_name">;

/** What is wrong with a pool's persistence by itself: the same for a spec and for the REST API. */
export function persistenceFault(
  protocol: PoolProtocol,
  { type, cookie_name }: Persistence,
): { field: "type" | "cookie_name"; message: string } | null {
  if (type !== "SOURCE_IP" && isIpvs(protocol)) {
    return { field: "type", message: `must be SOURCE_IP for a ${protocol} pool` };
  }
  if (type === "APP_COOKIE" && cookie_name === null) {
    return { field: "cookie_name", message: "is missing: APP_COOKIE needs it" };
  }
  if (type !== "APP_COOKIE" && cookie_name !== null) {
    return { field: "cookie_name", message: `means nothing to ${type}` };
  }
  return null;
}
