/** What a listener becomes: where it is bound, who may connect, and what is done with each request. */
import { isHttp } from "../fields.ts";
import type { AmphoraSpec, ListenerSpec } from "../spec.ts";
import { bracketed } from "./check.ts";
import { type DnView, dnViews, type PolicyView, policyViews } from "./l7.ts";
import { activeListeners, backendName, backendsOf, type Mode } from "./names.ts";
import { bindWords, certificateList, showsVerification } from "./tls.ts";

export interface FrontendView {
  readonly name: string;
  readonly mode: Mode;
  readonly http: boolean;
  readonly binds: readonly BindView[];
  readonly tls: { readonly list: string; readonly options: string } | null;
  readonly maxconn: number | null;
  readonly clientTimeout: number;
  /** who may connect, by the family of the VIP: HAProxy would take ::/0 for IPv4 as well; null: everybody may */
  readonly allowed: readonly AllowedView[] | null;
  readonly inspectDelay: number | null;
  /** a variable, for the hash: a converter takes no second sample */
  readonly keepsSourcePort: boolean;
  readonly prometheus: boolean;
  /** where all requests are sent instead: the part of the URL between host and path */
  readonly redirect: { readonly port: string } | null;
  readonly verifiedDn: readonly DnView[];
  readonly policies: readonly PolicyView[];
  readonly choosesBackend: boolean;
  readonly forwardedFor: boolean;
  readonly headers: readonly HeaderView[];
  readonly hsts: string | null;
  readonly backend: string | null;
}

interface BindView {
  readonly endpoint: string;
  readonly family: Family;
}

type Family = "ipv4" | "ipv6";

interface AllowedView {
  readonly family: Family;
  /** prefixes, some per line: a line has at most 64 words */
  readonly lines: readonly string[];
}

interface HeaderView {
  readonly name: string;
  readonly value: string;
  /** whether it speaks of a certificate that may not have been verified */
  readonly ofVerified: boolean;
}

const CIDRS_PER_LINE = 50;

export function frontendViews(spec: AmphoraSpec): FrontendView[] {
  return activeListeners(spec).map((listener) => frontendView(spec, listener));
}

function frontendView(spec: AmphoraSpec, listener: ListenerSpec): FrontendView {
  const prometheus = listener.protocol === "PROMETHEUS";
  const http = isHttp(listener.protocol) || prometheus;
  const redirect = redirectView(spec, listener);
  const answersItself = redirect !== null || prometheus;
  const policies = answersItself ? [] : policyViews(spec, listener);
  const pool = spec.pools.find((each) => each.id === listener.default_pool_id && each.admin_state_up);
  return {
    name: listener.id,
    mode: http ? "http" : "tcp",
    http,
    binds: spec.vips.map((vip) => ({ endpoint: `${bracketed(vip)}:${listener.protocol_port}`, family: familyOf(vip) })),
    tls:
      listener.tls === null
        ? null
        : { list: certificateList(listener), options: bindWords(listener, listener.tls).join(" ") },
    maxconn: listener.connection_limit > 0 ? listener.connection_limit : null,
    clientTimeout: listener.timeout_client_data,
    allowed: listener.allowed_cidrs === null ? null : allowedViews(listener.allowed_cidrs),
    inspectDelay: listener.timeout_tcp_inspect > 0 ? listener.timeout_tcp_inspect : null,
    keepsSourcePort: !answersItself && usesSourcePort(spec, listener),
    prometheus,
    redirect,
    verifiedDn: answersItself ? [] : dnViews(listener),
    policies,
    choosesBackend: policies.some(({ backend }) => backend !== null),
    forwardedFor: !answersItself && listener.insert_headers.includes("X-Forwarded-For"),
    headers: answersItself ? [] : headerViews(listener),
    hsts: hstsValue(listener),
    backend: pool === undefined || answersItself ? null : backendName(pool, listener),
  };
}

function familyOf(address: string): Family {
  return address.includes(":") ? "ipv6" : "ipv4";
}

function allowedViews(cidrs: readonly string[]): AllowedView[] {
  return (["ipv4", "ipv6"] as const).map((family) => {
    const own = cidrs.filter((cidr) => familyOf(cidr) === family);
    const lines: string[] = [];
    for (let i = 0; i < own.length; i += CIDRS_PER_LINE) lines.push(own.slice(i, i + CIDRS_PER_LINE).join(" "));
    return { family, lines };
  });
}

function usesSourcePort(spec: AmphoraSpec, listener: ListenerSpec): boolean {
  const alone = { ...spec, listeners: [listener] };
  return [...backendsOf(alone).values()].some(({ pool }) => pool.lb_algorithm === "SOURCE_IP_PORT");
}

function redirectView(spec: AmphoraSpec, listener: ListenerSpec): FrontendView["redirect"] {
  if (listener.redirect_listener_id === null) return null;
  const target = spec.listeners.find(({ id }) => id === listener.redirect_listener_id);
  return target === undefined || target.protocol_port === 443 ? { port: "" } : { port: `:${target.protocol_port}` };
}

/** Values in HAProxy's log format. Octavia writes %{+Q} for some, which HAProxy passes over in front of a bracket. */
const HEADERS = {
  "X-Forwarded-Port": "%[dst_port]",
  "X-SSL-Client-Verify": "%[ssl_c_verify]",
  "X-SSL-Client-Has-Cert": "%[ssl_c_used]",
  "X-SSL-Client-DN": "%[ssl_c_s_dn]",
  "X-SSL-Client-CN": "%[ssl_c_s_dn(cn)]",
  "X-SSL-Issuer": "%[ssl_c_i_dn]",
  "X-SSL-Client-SHA1": "%[ssl_c_sha1,hex]",
  "X-SSL-Client-Not-Before": "%[ssl_c_notbefore]",
  "X-SSL-Client-Not-After": "%[ssl_c_notafter]",
} as const;
const OF_ANY_CERTIFICATE: readonly string[] = ["X-SSL-Client-Verify", "X-SSL-Client-Has-Cert"];

/** Each replaces what the client sent under its name. X-Forwarded-For, which adds to it, is an option of HAProxy's own. */
function headerViews(listener: ListenerSpec): HeaderView[] {
  const lenient = showsVerification(listener);
  const views: HeaderView[] = [];
  for (const name of new Set(listener.insert_headers)) {
    if (name === "X-Forwarded-For") continue;
    const value =
      name === "X-Forwarded-Proto" ? (listener.protocol === "TERMINATED_HTTPS" ? "https" : "http") : HEADERS[name];
    const ofVerified = lenient && name.startsWith("X-SSL-") && !OF_ANY_CERTIFICATE.includes(name);
    views.push({ name, value, ofVerified });
  }
  return views;
}

/** RFC 6797, 6.1 */
function hstsValue({ tls }: ListenerSpec): string | null {
  if (tls === null || tls.hsts_max_age === null) return null;
  const subdomains = tls.hsts_include_subdomains ? "; includeSubDomains" : "";
  return `max-age=${tls.hsts_max_age}${subdomains}${tls.hsts_preload ? "; preload" : ""}`;
}
