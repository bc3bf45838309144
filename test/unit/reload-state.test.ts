/**
 * What is handed to the next worker is the members' health alone. HAProxy would take weights, ports and more from the
 * same file, against its configuration. The answer was recorded from HAProxy 2.6.12: member 1 was given weight 5 at
 * run time, member 3 is down, member 4 in maintenance.
 */
import t from "tap";
import { stateForReload } from "../../agent/dataplane/haproxy-stats.ts";
import type { AmphoraSpecInput } from "../../templates/spec.ts";
import { idOf, listener, type MemberInput, member, monitor, pool, spec } from "../support/specs.ts";

const RECORDED = `1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
5 44444444-0000-4000-8000-000000000001:http:5000:50000 1 55555555-0000-4000-8000-000000000001 10.77.0.21 2 0 5 1 1 15 3 1 6 0 0 0 - 8080 - 0 8090 10.77.0.99 - 8090
5 44444444-0000-4000-8000-000000000001:http:5000:50000 2 55555555-0000-4000-8000-000000000002 10.77.0.22 2 0 1 1 1 15 3 1 6 0 0 0 - 8080 - 0 0 - - 0
5 44444444-0000-4000-8000-000000000001:http:5000:50000 3 55555555-0000-4000-8000-000000000003 10.77.0.23 0 0 1 1 1 8 2 0 6 0 0 0 - 8080 - 0 0 - - 0
5 44444444-0000-4000-8000-000000000001:http:5000:50000 4 55555555-0000-4000-8000-000000000004 10.77.0.24 0 5 1 1 1 1 0 0 14 0 0 0 - 8080 - 0 0 - - 0

`;
const OPERATIONAL = 5;
const ADMIN = 6;
const RUNTIME_WEIGHT = 7;
const CONFIGURED_WEIGHT = 8;
const PORT = 18;

t.test("up and down are handed over as they are", async (t) => {
  t.strictSame(column(handedOver({}), OPERATIONAL), { 1: "2", 2: "2", 3: "0" });
});

t.test("a weight given at run time gives way to the spec's", async (t) => {
  const state = handedOver({ members: [member(1, { weight: 1 }), member(2, { weight: 9 })] });
  t.strictSame(column(state, RUNTIME_WEIGHT), { 1: "1", 2: "9" });
  t.strictSame(column(state, CONFIGURED_WEIGHT), { 1: "1", 2: "9" });
});

t.test("the target of checks is the spec's to say", async (t) => {
  const line = lineOf(handedOver({}), 1).split(" ");
  t.strictSame(line.slice(21), ["0", "-", "-", "0"]);
});

t.test("a member at another address or port starts as a new one", async (t) => {
  const moved = [member(1, { address: "10.77.0.31" }), member(2, { protocol_port: 81 }), member(3)];
  t.strictSame(column(handedOver({ members: moved }), PORT), { 3: "8080" });
});

t.test("an IPv6 address is the same however it is written", async (t) => {
  const recorded = RECORDED.replace("10.77.0.21", "fd77::21");
  const members = [member(1, { address: "fd77:0:0::0021" })];
  t.strictSame(column(handedOver({ members }, {}, recorded), OPERATIONAL), { 1: "2" });
});

t.test("a member that was in maintenance starts as a new one", async (t) => {
  const members = [1, 2, 3, 4].map((number) => member(number));
  t.notOk(4 in column(handedOver({ members }), OPERATIONAL));
});

t.test("whether a member is in maintenance is the spec's to say", async (t) => {
  const members = [member(1, { admin_state_up: false }), member(2)];
  t.strictSame(column(handedOver({ members }), ADMIN), { 1: "0", 2: "0" });
});

t.test("of a pool that is not checked nothing is handed over: a member would stay down for ever", async (t) => {
  t.equal(handedOver({ health_monitor: null }), "1\n");
  t.equal(handedOver({ health_monitor: monitor({ admin_state_up: false }) }), "1\n");
});

t.test("a pool's further backend starts from what the first one knows", async (t) => {
  const state = handedOver({}, { listeners: [listener(1), listener(2, { timeout_member_data: 600_000 })] });
  const backends = state.split("\n").filter((line) => line.includes(idOf("member", 3)));
  t.strictSame(
    backends.map((line) => line.split(" ").slice(1, 6)),
    [
      [`${idOf("pool")}:http:5000:50000`, "3", idOf("member", 3), "10.77.0.23", "0"],
      [`${idOf("pool")}:http:5000:600000`, "3", idOf("member", 3), "10.77.0.23", "0"],
    ],
  );
});

t.test("a member that is gone is not handed over", async (t) => {
  t.strictSame(Object.keys(column(handedOver({ members: [member(2)] }), OPERATIONAL)), ["2"]);
});

t.test("an answer that is none hands over nothing", async (t) => {
  for (const answer of ["", "Unknown command.\n", "1\n"]) t.equal(handedOver({}, {}, answer), "1\n");
});

function handedOver(
  changes: Partial<Parameters<typeof pool>[2]> & { members?: MemberInput[] },
  more: Partial<AmphoraSpecInput> = {},
  recorded = RECORDED,
): string {
  const { members = [member(1), member(2), member(3)], ...rest } = changes;
  return stateForReload(recorded, spec({ pools: [pool(1, members, { health_monitor: monitor(), ...rest })], ...more }));
}

function lineOf(state: string, number: number): string {
  return state.split("\n").find((line) => line.split(" ")[3] === idOf("member", number)) ?? "";
}

/** member's number -> what stands in that column */
function column(state: string, index: number): Record<string, string> {
  const numbers = [1, 2, 3, 4].filter((number) => lineOf(state, number) !== "");
  return Object.fromEntries(numbers.map((number) => [number, lineOf(state, number).split(" ")[index] ?? ""]));
}
