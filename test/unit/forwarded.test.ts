/** Entries of the kernel's connection table become connections of listeners. */
import t from "tap";
import { Forwarded } from "../../agent/connections/forwarded.ts";
import { type Entry, parseEntry } from "../../agent/dataplane/conntrack-entry.ts";
import { ipvsListeners, marksOf } from "../../templates/ipvs.ts";
import { TCP } from "../support/recorded/conntrack.ts";
import { listener, member, pool, spec } from "../support/specs.ts";

const SPEC = spec({
  listeners: [listener(1, { protocol: "FORWARD_TCP", protocol_port: 81, default_pool_id: pool(1, []).id })],
  pools: [pool(1, [member(1, { address: "10.0.1.10", protocol_port: 8080 })], { protocol: "FORWARD_TCP" })],
});

const [{ id: LISTENER = "" } = {}] = ipvsListeners(SPEC);

/** An entry of the listener's. */
function ours(): Entry {
  const entry = parseEntry(TCP);
  if (entry === null) throw new Error("a recorded entry is none");
  return { ...entry, mark: marksOf(SPEC).get(LISTENER) ?? 0 };
}

t.test("both sides, the member, and when it began", async (t) => {
  const connection = new Forwarded(SPEC).connectionOf(ours(), Date.UTC(2026, 10, 25, 3, 47, 59));
  t.match(connection, {
    listener_id: LISTENER,
    member_id: member(1).id,
    status: "ESTABLISHED",
    client_src_ip: "10.100.120.201",
    forward_dst_port: "8080",
    start_time: "2026-11-25 03:47:52",
    active_time: "2026-11-25 03:47:59",
  });
  t.equal(new Forwarded(SPEC).connectionOf({ ...ours(), mark: 4711 }, null), null, "another's");
});

t.test("idle times are whole seconds: no packet came before the connection", async (t) => {
  const connection = new Forwarded(SPEC).connectionOf(ours(), Date.UTC(2026, 10, 25, 3, 47, 51));
  t.match(connection, { start_time: "2026-11-25 03:47:52", active_time: "2026-11-25 03:47:52" });
});
