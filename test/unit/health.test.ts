/** The health report says of each part what HAProxy says, and its digest moves when it says something else. */
import t from "tap";
import type { StatRow } from "../../agent/dataplane/haproxy-stats.ts";
import { type HealthReport, NO_TRAFFIC } from "../../agent/protocol.ts";
import { digestOf, healthOf } from "../../agent/report.ts";
import { idOf, listener, member, pool, spec } from "../support/specs.ts";

const BACKEND = `${idOf("pool")}:http:5000:50000`;

t.test("a listener is open, full, or down", async (t) => {
  const state = (row: StatRow) => healthOf(spec(), [row]).listeners[idOf("listener")];
  t.equal(state(frontend({ status: "OPEN" })), "OPEN");
  t.equal(state(frontend({ status: "STOP" })), "DOWN");
  t.equal(state(frontend({ active: 9, limit: 10 })), "OPEN", "one connection below its limit");
  t.equal(state(frontend({ active: 10, limit: 10 })), "FULL", "at its limit");
});

t.test("a listener that HAProxy does not show is down", async (t) => {
  t.equal(healthOf(spec(), []).listeners[idOf("listener")], "DOWN");
});

t.test("without an answer every listener is down, and nothing is said of members", async (t) => {
  t.strictSame(healthOf(spec(), null), { revision: 1, listeners: { [idOf("listener")]: "DOWN" }, pools: {} });
});

t.test("what is disabled is not reported", async (t) => {
  const rows = [frontend({}), server("UP")];
  t.strictSame(healthOf(spec({ listeners: [listener(1, { admin_state_up: false })] }), rows).listeners, {});
  t.strictSame(healthOf(spec({ admin_state_up: false }), rows).listeners, {});
});

t.test("a member's state is what HAProxy says", async (t) => {
  const states: Record<string, string> = {
    UP: "UP",
    "UP 1/3": "UP",
    DOWN: "DOWN",
    "DOWN 1/2": "DOWN",
    "DOWN (agent)": "DOWN",
    "no check": "NO_CHECK",
    MAINT: "MAINT",
    "MAINT (via x/y)": "MAINT",
    DRAIN: "DRAIN",
    "DRAIN (agent)": "DRAIN",
    "NOLB 1/2": "DRAIN",
  };
  for (const [status, wanted] of Object.entries(states)) t.equal(memberState([server(status)]), wanted, status);
});

t.test("a member of weight 0 drains, unless it is down or disabled", async (t) => {
  const drained = spec({ pools: [pool(1, [member(1, { weight: 0 })])] });
  const state = (status: string) => healthOf(drained, [server(status)]).pools[idOf("pool")]?.[idOf("member")];
  t.equal(state("UP"), "DRAIN");
  t.equal(state("no check"), "DRAIN");
  t.equal(state("DOWN"), "DOWN");
  t.equal(state("MAINT"), "MAINT");
});

t.test("a member that one of its pool's backends finds down is down", async (t) => {
  const other = `${idOf("pool")}:http:5000:600000`;
  t.equal(memberState([server("DOWN"), server("UP", other)]), "DOWN");
  t.equal(memberState([server("UP"), server("DOWN", other)]), "DOWN");
});

t.test("rows of what the spec does not hold are passed over", async (t) => {
  const strangers = [
    { ...frontend({}), proxy: "amphora" },
    { ...server("UP"), server: idOf("member", 99) },
    { ...server("UP"), server: "BACKEND" },
  ];
  t.strictSame(healthOf(spec({ listeners: [] }), strangers), { revision: 1, listeners: {}, pools: {} });
});

t.test("the digest is the same for the same report, and another for each change of it", async (t) => {
  const rows = [frontend({}), server("UP"), { ...server("UP"), server: idOf("member", 2) }];
  const reports: HealthReport[] = [
    healthOf(spec(), rows),
    healthOf(spec({ revision: 2 }), rows),
    healthOf(spec(), [frontend({ active: 1000 }), ...rows.slice(1)]),
    healthOf(spec(), [...rows.slice(0, 2), { ...server("DOWN"), server: idOf("member", 2) }]),
    healthOf(spec(), rows.slice(0, 2)),
    healthOf(spec(), null),
  ];
  const digests = reports.map(digestOf);
  t.equal(new Set(digests).size, reports.length);
  t.strictSame(digests, structuredClone(reports).map(digestOf));
  for (const digest of digests) t.match(digest, /^[0-9a-f]{16}$/);
});

function memberState(rows: readonly StatRow[]): string | undefined {
  return healthOf(spec(), rows).pools[idOf("pool")]?.[idOf("member")];
}

function frontend({ status = "OPEN", active = 0, limit = 1000 }): StatRow {
  const counters = { ...NO_TRAFFIC, active_connections: active };
  return { proxy: idOf("listener"), server: "FRONTEND", status, sessionLimit: limit, counters };
}

function server(status: string, backend = BACKEND): StatRow {
  return { proxy: backend, server: idOf("member"), status, sessionLimit: 0, counters: NO_TRAFFIC };
}
