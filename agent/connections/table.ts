/** Connections as people read them: a table with a row for each. */
import type { Connection } from "./protocol.ts";

export interface Row {
  readonly one: Connection;
  /** bytes per second; null: not shown */
  readonly rate: number | null;
}

const HEADINGS = ["", "CLIENT", "VIP", "SOURCE", "MEMBER", "STATE", "AGE", "IDLE", "IN", "OUT", "RATE"];
/** Columns of numbers stand to the right. */
const RIGHT = new Set(["AGE", "IDLE", "IN", "OUT", "RATE"]);
/** Nothing has come back yet. */
const HALF_OPEN = new Set([
  "SYN_SENT",
  "SYN_SENT2",
  "SYN_RECV",
  "UNREPLIED",
  "CONNECTING",
  "COOKIE_WAIT",
  "COOKIE_ECHOED",
]);

/** Whether a connection is one that waits for its other side: marked by `!`. */
export function isHalfOpen({ status }: Connection): boolean {
  return HALF_OPEN.has(status);
}

/** The lines of the table, headings first. @param now ms since 1970 */
export function tableLines(rows: readonly Row[], now: number): string[] {
  const cells = [HEADINGS, ...rows.map((row) => cellsOf(row, now))];
  const shown = HEADINGS.map((_, i) => i === 0 || cells.slice(1).some((each) => each[i] !== "") || i < 10);
  const widths = HEADINGS.map((_, i) => Math.max(...cells.map((each) => (each[i] ?? "").length)));
  return cells.map((row) =>
    row
      .map((cell, i) => (RIGHT.has(HEADINGS[i] ?? "") ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .filter((_, i) => shown[i])
      .join("  ")
      .trimEnd(),
  );
}

function cellsOf({ one, rate }: Row, now: number): string[] {
  return [
    isHalfOpen(one) ? "!" : "",
    endpoint(one.client_src_ip, one.client_src_port),
    `${one.protocol} ${endpoint(one.client_dst_ip, one.client_dst_port)}`,
    endpoint(one.forward_src_ip, one.forward_src_port),
    endpoint(one.forward_dst_ip, one.forward_dst_port),
    one.status,
    since(one.start_time, now),
    since(one.active_time, now),
    amount(one.bytes_in),
    amount(one.bytes_out),
    rate === null ? "" : `${amount(rate)}/s`,
  ];
}

function endpoint(address: string | null, port: string | null): string {
  if (address === null || port === null) return "-";
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

function since(time: string | null, now: number): string {
  if (time === null) return "-";
  const seconds = Math.max(0, Math.round((now - Date.parse(`${time.replace(" ", "T")}Z`)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)}h` : `${Math.round(seconds / 86_400)}d`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** `999 B`, `1.5 KiB` */
function amount(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}
