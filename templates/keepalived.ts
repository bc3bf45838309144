/** What the keepalived templates show: the instance that checks members and keeps IPVS's table. */
import { loadTemplate, loadText } from "./engine.ts";
import { type IpvsService, ipvsServices, isChecked, monitorOf, weightOf } from "./ipvs.ts";
import type { Layout } from "./layout.ts";
import type { AmphoraSpec, HealthMonitorSpec, MemberSpec } from "./spec.ts";

/** keepalived keeps times in a 32 bit count of microseconds: 71 minutes at most. */
const MAX_CHECK_TIMEOUT = 4294;

interface HttpView {
  keyword: "HTTP_GET" | "SSL_GET";
  version: string;
  path: string;
  codes: string;
  host: string | null;
  sni: boolean;
  /** one for each success that must follow the first, before the member is up again */
  urls: null[];
  fast: boolean;
}

interface CheckView {
  http: HttpView | null;
  /** a check of keepalived's own that knows nothing but success and failure */
  plain: "TCP_CHECK" | "UDP_CHECK" | "PING_CHECK" | null;
  /** the command that counts successes, which keepalived does not */
  command: string | null;
  address: string | null;
  port: number | null;
  timeout: number;
  /** seconds after which a command is told to end: those that keep their time themselves get some more */
  patience: number;
  retry: number;
  delay: number;
}

interface MemberView {
  id: string;
  address: string;
  port: number;
  weight: number;
  check: CheckView | null;
}

interface ServiceView {
  listener: string;
  pool: string;
  vip: string;
  port: number;
  protocol: string;
  scheduler: string;
  flags: readonly string[];
  persistence: { timeout: number; granularity: string | null } | null;
  delay: number | null;
  members: MemberView[];
}

interface KeepalivedView {
  user: string;
  fifo: string;
  timeouts: { tcp: number; tcpfin: number; udp: number };
  services: ServiceView[];
}

const template = loadTemplate<KeepalivedView>("keepalived", "checkers.conf", ["virtual-server", "check"]);

/** The text of checkers.conf. */
export function renderCheckers(spec: AmphoraSpec, layout: Layout): string {
  return template({
    user: layout.keepalived.scriptUser,
    fifo: memberFifo(layout),
    timeouts: { tcp: spec.lvs_tcp_timeout, tcpfin: spec.lvs_tcpfin_timeout, udp: spec.lvs_udp_timeout },
    services: ipvsServices(spec).map((service) => serviceView(service, layout)),
  });
}

function serviceView(service: IpvsService, layout: Layout): ServiceView {
  const { listener, pool, vip, port, transport, scheduler, persistence, members } = service;
  const monitor = monitorOf(pool);
  return {
    listener: listener.id,
    pool: pool.id,
    vip,
    port,
    protocol: transport,
    scheduler: scheduler.name,
    flags: scheduler.flags,
    persistence,
    delay: monitor?.delay ?? null,
    members: members.map((member) => ({
      id: member.id,
      address: member.address,
      port: member.protocol_port,
      weight: weightOf(member),
      check: monitor === null || !isChecked(service, member) ? null : checkView(service, member, monitor, layout),
    })),
  };
}

const PLAIN = { TCP: "TCP_CHECK", "UDP-CONNECT": "UDP_CHECK", PING: "PING_CHECK" } as const;

function checkView(service: IpvsService, member: MemberSpec, monitor: HealthMonitorSpec, layout: Layout): CheckView {
  const { type, max_retries: rise, max_retries_down: fall, delay } = monitor;
  const view: CheckView = {
    http: null,
    plain: null,
    command: null,
    address: member.monitor_address,
    port: type === "PING" ? null : member.monitor_port,
    timeout: Math.min(monitor.timeout, MAX_CHECK_TIMEOUT),
    patience: Math.min(type === "TCP" ? monitor.timeout : monitor.timeout + 2, MAX_CHECK_TIMEOUT),
    retry: fall - 1,
    delay,
  };
  if (type === "HTTP" || type === "HTTPS") return { ...view, http: httpView(monitor) };
  const plain = type === "TCP" || type === "UDP-CONNECT" || type === "PING" ? PLAIN[type] : null;
  if (plain !== null && rise === 1) return { ...view, plain };
  const words = [
    checkMember(layout),
    type,
    member.monitor_address ?? member.address,
    member.monitor_port ?? member.protocol_port,
    view.timeout,
    rise,
    fall,
    `${checkStates(layout)}/${checkKey(service, member)}`,
  ];
  return { ...view, command: words.join(" ") };
}

/**
 * keepalived asks for one of a server's URLs at a time. One that had failed must succeed once, and then all of them
 * (check_http.c, epilog): as many URLs as successes are wanted, less that one. With a single URL the second success is
 * asked for at once, so that it costs no time.
 */
function httpView(monitor: HealthMonitorSpec): HttpView {
  const { type, max_retries: rise, http_version, url_path, expected_codes, domain_name } = monitor;
  return {
    keyword: type === "HTTPS" ? "SSL_GET" : "HTTP_GET",
    version: http_version.toFixed(1),
    path: encodePath(url_path),
    codes: expected_codes.replaceAll(",", " "),
    host: domain_name,
    sni: type === "HTTPS" && domain_name !== null,
    urls: Array.from({ length: Math.max(1, rise - 1) }, () => null),
    fast: rise === 1,
  };
}

/**
 * Percent-encodes what keepalived's configuration language gives a meaning to: quotes, comments (`#`, `!`), variables
 * (`$`), sequences (`~`), braces, and a few more to be safe. Servers decode it (RFC 3986, 2.1).
 */
function encodePath(path: string): string {
  return path.replaceAll(
    /[^A-Za-z0-9/._?&=%:@,;+*()-]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

/** The command that counts a member's successes: the same on every instance. */
export const CHECK_MEMBER = loadText("keepalived", "check-member");

/** Where the command that counts a member's successes stands on the instance. */
export function checkMember(layout: Layout): string {
  return `${layout.runDir}/check-member`;
}

/** The pipe into which keepalived says which members it adds and removes. */
export function memberFifo(layout: Layout): string {
  return `${layout.runDir}/keepalived.fifo`;
}

/** The folder where it keeps what it has counted, a file for each member of each service. */
export function checkStates(layout: Layout): string {
  return `${layout.runDir}/checks`;
}

function checkKey({ listener, vip }: IpvsService, member: MemberSpec): string {
  return `${listener.id}_${vip}_${member.address}_${member.protocol_port}`;
}
