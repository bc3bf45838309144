/** What HAProxy says of its listeners and servers, read from `show stat` and `show servers state`. */
import ipaddr from "ipaddr.js";
import { backendsOf, poolOfBackend } from "../../templates/haproxy.ts";
import type { AmphoraSpec, MemberSpec } from "../../templates/spec.ts";
import type { Counters } from "../protocol.ts";

/** Frontends (1) and servers (4) of every proxy (management guide, 9.3 "show stat"). */
export const SHOW_STAT = "show stat -1 5 -1";

export interface StatRow {
  readonly proxy: string;
  /** FRONTEND, or the server's name */
  readonly server: string;
  /** such as OPEN, UP, UP 1/3, DOWN, MAINT, DRAIN, no check */
  readonly status: string;
  readonly sessionLimit: number;
  readonly counters: Counters;
}

/** Columns of the CSV answer, counted from 0 (management guide, 9.1 "CSV format"). */
const COLUMN = { proxy: 0, server: 1, active: 4, limit: 6, total: 7, in: 8, out: 9, errors: 12, status: 17 } as const;

/** Rows of an answer; lines that are no rows are passed over. All columns used stand before the first quoted one. */
export function parseStat(csv: string): StatRow[] {
  const rows: StatRow[] = [];
  for (const line of csv.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const cells = line.split(",", COLUMN.status + 1);
    const status = cells[COLUMN.status];
    if (status === undefined) continue;
    const number = (column: number) => Number(cells[column] || 0);
    rows.push({
      proxy: cells[COLUMN.proxy] ?? "",
      server: cells[COLUMN.server] ?? "",
      status,
      sessionLimit: number(COLUMN.limit),
      counters: {
        active_connections: number(COLUMN.active),
        total_connections: number(COLUMN.total),
        bytes_in: number(COLUMN.in),
        bytes_out: number(COLUMN.out),
        request_errors: number(COLUMN.errors),
      },
    });
  }
  return rows;
}

/** Columns of `show servers state`, version 1 (management guide, 9.3 "show servers state"). */
const STATE = {
  backend: 1,
  server: 3,
  address: 4,
  operational: 5,
  admin: 6,
  weight: 7,
  configuredWeight: 8,
  checkResult: 11,
  port: 18,
  checkPort: 21,
  checkAddress: 22,
  agentAddress: 23,
  agentPort: 24,
} as const;
/** Of srv_op_state and srv_check_result. */
const RUNNING = "2";
const CHECKED = ["2", "3"];
/** Of srv_admin_state: in maintenance for whatever reason, and thus not checked. */
const MAINTENANCE = 0x27;

/**
 * The state to hand to the next worker: the health of the members that stay, and nothing else. HAProxy would rather
 * believe this file than its configuration, so whatever the spec decides is written as the next spec has it.
 *
 * Left out are members that are not checked (they would stay down for ever), those that now stand at another address,
 * and those that were in maintenance: they start as new ones do. A pool's new backend starts from what another of its
 * backends knows.
 * @param state answer to `show servers state`
 */
export function stateForReload(state: string, next: AmphoraSpec): string {
  const known = new Map<string, string[]>();
  for (const line of state.split("\n")) {
    const cells = line.split(" ");
    const backend = cells[STATE.backend] ?? "";
    if (line.startsWith("#") || cells.length <= STATE.agentPort || Number(cells[STATE.admin]) & MAINTENANCE) continue;
    known.set(`${backend}/${cells[STATE.server]}`, cells);
    known.set(`${poolOfBackend(backend)}/${cells[STATE.server]}`, cells);
  }
  const lines = ["1"];
  for (const [backend, { pool }] of backendsOf(next)) {
    if (!pool.health_monitor?.admin_state_up) continue;
    for (const member of pool.members) {
      const cells = known.get(`${backend}/${member.id}`) ?? known.get(`${pool.id}/${member.id}`);
      if (cells !== undefined && isAt(cells, member)) lines.push(stateLine(cells, backend, member));
    }
  }
  return `${lines.join("\n")}\n`;
}

/**
 * Whether each server is up, by its name; null: it has not been checked yet.
 * @param state answer to `show servers state`
 */
export function parseChecks(state: string): Map<string, boolean | null> {
  const found = new Map<string, boolean | null>();
  for (const line of state.split("\n")) {
    const cells = line.split(" ");
    const name = cells[STATE.server];
    if (line.startsWith("#") || name === undefined) continue;
    const checked = CHECKED.includes(cells[STATE.checkResult] ?? "");
    found.set(name, checked ? cells[STATE.operational] === RUNNING : null);
  }
  return found;
}

function isAt(cells: readonly string[], member: MemberSpec): boolean {
  const address = cells[STATE.address] ?? "";
  if (!ipaddr.isValid(address) || cells[STATE.port] !== String(member.protocol_port)) return false;
  return ipaddr.parse(address).toString() === ipaddr.parse(member.address).toString();
}

function stateLine(cells: readonly string[], backend: string, member: MemberSpec): string {
  const line = [...cells];
  line[STATE.backend] = backend;
  line[STATE.admin] = "0";
  line[STATE.weight] = String(member.weight);
  line[STATE.configuredWeight] = String(member.weight);
  line[STATE.checkPort] = "0";
  line[STATE.checkAddress] = "-";
  line[STATE.agentAddress] = "-";
  line[STATE.agentPort] = "0";
  return line.join(" ");
}
