/** Health and statistics of what IPVS serves. */
import t from "tap";
import type { IpvsState } from "../../agent/dataplane/ipvs.ts";
import { parseTable, parseTraffic } from "../../agent/dataplane/ipvs-table.ts";
import { addIpvsHealth, ipvsCounters } from "../../agent/ipvs-report.ts";
import type { HealthReport } from "../../agent/protocol.ts";
import { Ledger } from "../../agent/report.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { forwardSpec, tableOf } from "../support/ipvs.ts";
import { idOf, listener, member, monitor, pool } from "../support/specs.ts";

const SERVICE = "TCP  10.77.0.5:80 wrr";
const up = (number: number, active = 0, inactive = 0) => `  -> 10.77.0.2${number}:8080 Masq 1 ${active} ${inactive}`;
const checked = { health_monitor: monitor({ type: "TCP" }) };

function health(spec: AmphoraSpec, lines: readonly string[] | null): HealthReport {
  const report: HealthReport = { revision: spec.revision, listeners: {}, pools: {} };
  addIpvsHealth(report, spec, lines === null ? null : parseTable(tableOf(lines)));
  return report;
}

function state(...lines: string[]): IpvsState {
  return { table: parseTable(tableOf(lines)), traffic: new Map() };
}

t.test("a member is up while it is in the table", async (t) => {
  const spec = forwardSpec({
    pool: checked,
    members: [member(1), member(2), member(3, { weight: 0 }), member(4, { admin_state_up: false })],
  });
  const { listeners, pools } = health(spec, [SERVICE, up(1), up(3), up(4)]);
  t.strictSame(listeners, { [idOf("listener")]: "OPEN" });
  t.strictSame(pools[idOf("pool")], {
    [idOf("member", 1)]: "UP",
    [idOf("member", 2)]: "DOWN",
    [idOf("member", 3)]: "DRAIN",
    [idOf("member", 4)]: "MAINT",
  });
});

t.test("without a monitor nobody knows", async (t) => {
  t.strictSame(health(forwardSpec({ members: [member(1)] }), [SERVICE, up(1)]).pools[idOf("pool")], {
    [idOf("member")]: "NO_CHECK",
  });
});

t.test("a listener without its service, or without an answer of the kernel, is down", async (t) => {
  t.strictSame(health(forwardSpec(), []).listeners, { [idOf("listener")]: "DOWN" });
  t.strictSame(health(forwardSpec(), null), { revision: 1, listeners: { [idOf("listener")]: "DOWN" }, pools: {} });
});

t.test("a listener without members is open: there is nothing amiss", async (t) => {
  t.strictSame(health(forwardSpec({ members: [] }), []).listeners, { [idOf("listener")]: "OPEN" });
});

t.test("a listener is full when it holds as many connections as it may", async (t) => {
  const spec = forwardSpec({ listener: { connection_limit: 3 } });
  t.equal(health(spec, [SERVICE, up(1, 1, 9), up(2, 1, 9)]).listeners[idOf("listener")], "OPEN");
  t.equal(health(spec, [SERVICE, up(1, 2, 0), up(2, 1, 0)]).listeners[idOf("listener")], "FULL");
});

t.test("a member that one of a pool's services lacks is down", async (t) => {
  const spec = forwardSpec({
    listeners: [listener(1, { protocol: "FORWARD_TCP" }), listener(2, { protocol: "FORWARD_TCP" })],
    pools: [pool(1, [member(1)], { protocol: "FORWARD_TCP", ...checked })],
  });
  const states = health(spec, [SERVICE, up(1), "TCP  10.77.0.5:81 wrr"]).pools[idOf("pool")];
  t.strictSame(states, { [idOf("member")]: "DOWN" });
});

t.test("active connections: the established ones, and every UDP flow", async (t) => {
  const traffic = (prot: string) => parseTraffic(`${prot}  10.77.0.5:80 30 400 300 5000 6000\n`);
  const active = (spec: AmphoraSpec, prot: string) => [
    ...ipvsCounters(spec, { ...state(`${prot}  10.77.0.5:80 wrr`, up(1, 2, 5)), traffic: traffic(prot) }).values(),
  ];
  t.match(active(forwardSpec(), "TCP"), [
    [{ proxy: idOf("listener"), counters: { active_connections: 2, total_connections: 30, bytes_in: 5000 } }],
  ]);
  const udp = forwardSpec({ listener: { protocol: "UDP" }, pool: { protocol: "UDP" } });
  t.match(active(udp, "UDP"), [[{ counters: { active_connections: 7, bytes_out: 6000 } }]]);
});

t.test("a total never falls when a service is made anew", async (t) => {
  const ledger = new Ledger();
  const spec = forwardSpec({ members: [member(1), member(2, { address: "fd77::22" })] });
  const enter = (four: number, six: number) =>
    ledger.update(
      ipvsCounters(spec, {
        table: parseTable(tableOf([SERVICE, "TCP  [fd77::5]:80 wrr"])),
        traffic: parseTraffic(`TCP  10.77.0.5:80 ${four} 0 0 0 0\nTCP  [fd77::5]:80 ${six} 0 0 0 0\n`),
      }),
    );
  const total = () => ledger.totals(idOf("listener")).total_connections;
  enter(10, 5);
  t.equal(total(), 15);
  enter(2, 6);
  t.equal(total(), 18, "10 of the old service, 2 of the new one, and the other goes on");
});
