/** HAProxy's sessions are read as 2.6 and 3.0 print them, and nothing that is read does harm. */
import fc from "fast-check";
import t from "tap";
import { Served } from "../../agent/connections/served.ts";
import { parseSession, type Session, sessionsIn } from "../../agent/dataplane/haproxy-sessions.ts";
import { HAPROXY_26, HAPROXY_30 } from "../support/recorded/sessions.ts";
import { idOf, listener, member, pool, spec } from "../support/specs.ts";

async function read(text: string, size = text.length): Promise<Session[]> {
  const found: Session[] = [];
  async function* pieces() {
    for (let i = 0; i < text.length; i += size) yield text.slice(i, i + size);
  }
  for await (const batch of sessionsIn(pieces())) found.push(...batch);
  return found;
}

t.test("2.6: both sides of a session, its state, bytes and how long each side may be silent", async (t) => {
  const [tcp, http, ...more] = await read(HAPROXY_26);
  t.strictSame(more, [], "HAProxy's own command line is no client");
  t.strictSame(tcp, {
    id: "0",
    frontend: idOf("listener"),
    backend: `${idOf("pool")}:tcp:5000:50000`,
    server: idOf("member"),
    client: { address: "127.0.0.1", port: "52490" },
    listener: { address: "127.0.0.1", port: "7100" },
    source: { address: "127.0.0.1", port: "52034" },
    target: { address: "127.0.0.1", port: "7102" },
    state: "EST",
    start: new Date(2026, 10, 25, 5, 39, 51).getTime(),
    clientPatience: 48_000,
    serverPatience: 47_000,
    bytesIn: 11,
    bytesOut: 13,
  });
  t.match(http, {
    client: { address: "::1", port: "52118" },
    listener: { address: "::1", port: "7101" },
    backend: "<NONE>",
    source: null,
    target: null,
    state: "INI",
    clientPatience: null,
  });
});

t.test("3.0 says the same at other places", async (t) => {
  const [tcp, ...more] = await read(HAPROXY_30);
  t.strictSame(more, []);
  t.match(tcp, { id: "7", state: "CON", clientPatience: 40_000, serverPatience: 62_500, bytesIn: 11, bytesOut: 12 });
});

t.test("sessions come out whole, wherever the answer is cut", async (t) => {
  for (const size of [1, 13, 500]) {
    t.strictSame(
      (await read(HAPROXY_26, size)).map(({ id }) => id),
      ["0", "1"],
      `pieces of ${size}`,
    );
  }
});

t.test("a session becomes a connection of its listener, pool and member", async (t) => {
  const one = spec({
    listeners: [listener(1, { protocol: "TCP", protocol_port: 7100 })],
    pools: [pool(1, [member(1)], { protocol: "TCP" })],
  });
  const [tcp, http] = await read(HAPROXY_26);
  if (tcp === undefined || http === undefined) throw new Error("no sessions");
  const now = Date.UTC(2026, 10, 25, 12, 0, 0);
  t.match(new Served(one).connectionOf(tcp, 4711, now), {
    id: "h4711-0000000000",
    listener_id: idOf("listener"),
    pool_id: idOf("pool"),
    member_id: idOf("member"),
    ip_version: "ipv4",
    status: "ESTABLISHED",
    client_src_port: "52490",
    forward_src_port: "52034",
    forward_dst_port: "7102",
    active_time: "2026-11-25 11:59:58",
    end_time: null,
    packets_in: null,
  });
  t.equal(new Served(one).connectionOf(http, 4711, now), null, "of a listener that there is not");
});

t.test("no answer makes the reader throw", async () => {
  const texts = fc.constantFrom(HAPROXY_26, HAPROXY_30);
  const damaged = fc.tuple(texts, fc.nat(), fc.string({ unit: "binary" })).map(([text, at, harm]) => {
    const place = at % text.length;
    return text.slice(0, place) + harm + text.slice(place + harm.length);
  });
  const lines = fc.array(fc.constantFrom(...`${HAPROXY_26}${HAPROXY_30}`.split("\n"))).map((all) => all.join("\n"));
  fc.assert(
    fc.property(fc.oneof(damaged, lines, fc.string()), (text) => {
      parseSession(text);
    }),
    { numRuns: 2000 },
  );
});
