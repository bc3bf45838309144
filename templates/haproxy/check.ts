/** How HAProxy checks the members of a pool. */
import { isIPv6 } from "node:net";
import type { HealthMonitorSpec, PoolSpec } from "../spec.ts";

export interface CheckView {
  readonly timeout: number;
  readonly http: {
    readonly method: string;
    readonly path: string;
    readonly version: string;
    readonly host: string | null;
    readonly codes: string;
  } | null;
  /** bytes to send, in hexadecimal, when a greeting in TLS is all of the check */
  readonly hello: string | null;
}

/** The monitor that is in force. */
export function activeMonitor(pool: PoolSpec): HealthMonitorSpec | null {
  return pool.health_monitor?.admin_state_up ? pool.health_monitor : null;
}

/** Whether HAProxy itself checks; PING is the agent's to do. */
export function isChecked(pool: PoolSpec): boolean {
  const monitor = activeMonitor(pool);
  return monitor !== null && monitor.type !== "PING";
}

/** @param vip what an HTTP/1.1 check calls the host that has no name: servers refuse a request without (RFC 9112, 3.2) */
export function checkView(pool: PoolSpec, vip: string | null): CheckView | null {
  const monitor = activeMonitor(pool);
  if (monitor === null || !isChecked(pool)) return null;
  // HAProxy can't send a check that says HTTP/1.0 where h2 was agreed on
  const version = pool.tls?.alpn_protocols?.includes("h2") ? 1.1 : monitor.http_version;
  const unnamed = version === 1.1 && vip !== null ? bracketed(vip) : null;
  const isHttp = monitor.type === "HTTP" || monitor.type === "HTTPS";
  return {
    timeout: monitor.timeout,
    http: isHttp
      ? {
          method: monitor.http_method,
          path: monitor.url_path,
          version: `HTTP/${version.toFixed(1)}`,
          host: monitor.domain_name ?? unnamed,
          codes: monitor.expected_codes,
        }
      : null,
    // towards members over TLS every check begins with a whole handshake, which is more than a greeting
    hello: monitor.type === "TLS-HELLO" && pool.tls === null ? CLIENT_HELLO : null,
  };
}

/** The words of a server line that say how often and over what it is checked. */
export function checkDefaults(pool: PoolSpec): string[] {
  const monitor = activeMonitor(pool);
  if (monitor === null || !isChecked(pool)) return [];
  const words = ["inter", `${monitor.delay}s`, "rise", `${monitor.max_retries}`, "fall", `${monitor.max_retries_down}`];
  if (monitor.type === "HTTPS") {
    words.push("check-ssl");
    if (pool.tls === null) words.push("verify", "none");
  }
  // members that speak h2 alone, as gRPC's do, are checked in h2
  if (pool.tls?.alpn_protocols) words.push("check-alpn", pool.tls.alpn_protocols.join(","));
  return words;
}

/** Without brackets HAProxy takes the last part of an IPv6 address for a port. */
export function bracketed(address: string): string {
  return isIPv6(address) ? `[${address}]` : address;
}

/**
 * A greeting that any TLS server answers, with its own or with an alert (RFC 8446, 4.1.2): TLSv1.2 and TLSv1.3, the
 * ciphers, groups and signatures in common use, and no key share, so that nothing has to be made up for each check.
 * HAProxy's own `ssl-hello-chk` greets in SSLv3.
 */
const CLIENT_HELLO = record(
  [
    "0303", // as TLSv1.2
    "00".repeat(32), // random
    "00", // no session
    counted(2, "130113021303c02bc02fc02cc030cca9cca8c013c014009c009d002f0035"), // ciphers
    counted(1, "00"), // no compression
    counted(
      2,
      [
        extension("000a", counted(2, "001d00170018")), // groups
        extension("000b", counted(1, "00")), // points
        extension("000d", counted(2, "0403080408070805080604010501060102010203")), // signatures
        extension("002b", counted(1, "03040303")), // versions
        extension("0033", counted(2, "")), // key shares
      ].join(""),
    ),
  ].join(""),
);

function record(hello: string): string {
  return `160301${counted(2, `01${counted(3, hello)}`)}`;
}

function extension(type: string, content: string): string {
  return `${type}${counted(2, content)}`;
}

/** Bytes in hexadecimal after their number, in `size` bytes. */
function counted(size: number, hex: string): string {
  return (hex.length / 2).toString(16).padStart(size * 2, "0") + hex;
}
