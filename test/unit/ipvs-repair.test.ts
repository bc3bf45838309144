/** Whatever has come to differ in IPVS's table is put right by the fewest commands. */
import t from "tap";
import { repairsOf, timeoutRepair } from "../../agent/dataplane/ipvs-repair.ts";
import { parseTable } from "../../agent/dataplane/ipvs-table.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { forwardSpec, tableOf } from "../support/ipvs.ts";
import { member } from "../support/specs.ts";

const SERVICE = "TCP  10.77.0.5:80 wrr";
const up = (number: number, weight = 1) => `  -> 10.77.0.2${number}:8080 Masq ${weight} 0 0`;

const nothingSaid = () => undefined;

function commands(spec: AmphoraSpec, ...lines: string[]): readonly string[] {
  return repairsOf(spec, parseTable(tableOf(lines)), nothingSaid).commands;
}

t.test("a table that is as it should be needs nothing", async (t) => {
  t.strictSame(commands(forwardSpec(), SERVICE, up(1), up(2)), []);
});

t.test("which members are up is not ours to say", async (t) => {
  t.strictSame(commands(forwardSpec(), SERVICE, up(2)), []);
  t.strictSame(commands(forwardSpec(), SERVICE), []);
});

t.test("a member is where keepalived has said that it is", async (t) => {
  const said = new Map([
    ["TCP 10.77.0.5 80 10.77.0.21 8080", false],
    ["TCP 10.77.0.5 80 10.77.0.22 8080", true],
  ]);
  const { commands } = repairsOf(forwardSpec(), parseTable(tableOf([SERVICE, up(1)])), (...each) =>
    said.get(each.join(" ")),
  );
  t.strictSame(commands, ["-d -t 10.77.0.5:80 -r 10.77.0.21:8080", "-a -t 10.77.0.5:80 -r 10.77.0.22:8080 -m -w 1"]);
});

t.test("a service that is missing is told of: nobody but keepalived can make it", async (t) => {
  const { commands, missing } = repairsOf(forwardSpec(), [], nothingSaid);
  t.strictSame(commands, []);
  t.strictSame(
    missing.map(({ vip, port }) => [vip, port]),
    [["10.77.0.5", 80]],
  );
});

t.test("a service that no listener wants is removed", async (t) => {
  t.strictSame(commands(forwardSpec(), SERVICE, "UDP  10.77.0.5:80 wrr", "SCTP [fd77::5]:9 wrr", up(1)), [
    "-D -u 10.77.0.5:80",
    "-D --sctp-service [fd77::5]:9",
  ]);
});

t.test("a destination that is no member is removed", async (t) => {
  t.strictSame(commands(forwardSpec(), SERVICE, up(1), up(3)), ["-d -t 10.77.0.5:80 -r 10.77.0.23:8080"]);
});

t.test("weights, drained and disabled members", async (t) => {
  const spec = forwardSpec({
    members: [member(1, { weight: 7 }), member(2, { weight: 0 }), member(3, { admin_state_up: false })],
  });
  t.strictSame(commands(spec, SERVICE, up(1, 1), up(2, 1), up(3, 1)), [
    "-e -t 10.77.0.5:80 -r 10.77.0.21:8080 -m -w 7",
    "-e -t 10.77.0.5:80 -r 10.77.0.22:8080 -m -w 0",
    "-e -t 10.77.0.5:80 -r 10.77.0.23:8080 -m -w 0",
  ]);
});

t.test("backup members have their turn when every other one is down, and no longer", async (t) => {
  const spec = forwardSpec({ members: [member(1), member(2, { backup: true, weight: 4 }), member(3, { weight: 0 })] });
  t.strictSame(commands(spec, SERVICE, up(1), up(2, 0), up(3, 0)), []);
  t.strictSame(commands(spec, SERVICE, up(2, 0), up(3, 0)), ["-e -t 10.77.0.5:80 -r 10.77.0.22:8080 -m -w 4"]);
  t.strictSame(commands(spec, SERVICE, up(1), up(2, 4), up(3, 0)), ["-e -t 10.77.0.5:80 -r 10.77.0.22:8080 -m -w 0"]);
});

t.test("scheduler, its flags and persistence", async (t) => {
  const hashed = forwardSpec({ pool: { lb_algorithm: "SOURCE_IP_PORT" } });
  t.strictSame(commands(hashed, SERVICE), ["-E -t 10.77.0.5:80 -s mh -b mh-fallback,mh-port"]);
  t.strictSame(commands(hashed, "TCP  10.77.0.5:80 mh (mh-port,mh-fallback)"), [], "in any order");
  const persistence = { type: "SOURCE_IP", persistence_timeout: 60, persistence_granularity: "255.255.0.0" } as const;
  const sticky = forwardSpec({ pool: { session_persistence: persistence } });
  t.strictSame(commands(sticky, SERVICE), ["-E -t 10.77.0.5:80 -s wrr -p 60 -M 255.255.0.0"]);
  t.strictSame(commands(sticky, `${SERVICE} persistent 60 mask 255.255.0.0`), []);
  t.strictSame(commands(forwardSpec(), `${SERVICE} persistent 60`), ["-E -t 10.77.0.5:80 -s wrr"]);
});

t.test("time-outs", async (t) => {
  const spec = forwardSpec({ lvs_tcp_timeout: 900 });
  t.equal(timeoutRepair(spec, { tcp: 900, tcpfin: 120, udp: 300 }), null);
  t.equal(timeoutRepair(spec, { tcp: 901, tcpfin: 120, udp: 300 }), "--set 900 120 300");
  t.equal(timeoutRepair(spec, null), "--set 900 120 300");
});
