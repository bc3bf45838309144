/** What HAProxy says of its listeners and servers, read from `show stat` and `show servers state`. */
import { poolOfBackend } from "../../templates/haproxy.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
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
const STATE = { backend: 1, server: 3, admin: 6 } as const;

/**
 * The state to hand to the next worker: only servers that are checked there (a server without check would stay down for
 * ever), and no administrative state, which the configuration alone decides.
 * @param state answer to `show servers state`
 */
export function stateForReload(state: string, next: AmphoraSpec): string {
  const checked = new Set<string>();
  for (const pool of next.pools) {
    if (!pool.health_monitor?.admin_state_up) continue;
    for (const member of pool.members) checked.add(`${pool.id}/${member.id}`);
  }
  const lines = ["1"];
  for (const line of state.split("\n")) {
    if (line.startsWith("#")) lines.push(line);
    const cells = line.split(" ");
    const backend = cells[STATE.backend];
    if (cells.length < 10 || backend === undefined || line.startsWith("#")) continue;
    if (!checked.has(`${poolOfBackend(backend)}/${cells[STATE.server]}`)) continue;
    cells[STATE.admin] = "0";
    lines.push(cells.join(" "));
  }
  return `${lines.join("\n")}\n`;
}
