/** Entries of the kernel's connection table are read as conntrack(8) prints them, and nothing that is read does harm. */
import fc from "fast-check";
import t from "tap";
import { batchesOf, lastPacket } from "../../agent/dataplane/conntrack.ts";
import { parseEntry } from "../../agent/dataplane/conntrack-entry.ts";
import { DESTROYED, HALF_OPEN, NOT_ENTRIES, SCTP, TCP, TCP6, UDP } from "../support/recorded/conntrack.ts";

t.test("both sides of a TCP connection, its state, counters, mark and start", async (t) => {
  t.strictSame(parseEntry(TCP), {
    family: 4,
    protocol: "tcp",
    remaining: 399_999,
    state: "ESTABLISHED",
    replied: true,
    original: { src: "10.100.120.201", dst: "10.0.0.100", sport: "24024", dport: "81", packets: 5, bytes: 700 },
    reply: { src: "10.0.1.10", dst: "10.0.0.100", sport: "8080", dport: "30024", packets: 4, bytes: 900 },
    mark: 5,
    id: "2488186466",
    start: Date.UTC(2026, 10, 25, 3, 47, 52),
    stop: null,
  });
});

t.test("IPv6, half open, UDP, SCTP", async (t) => {
  t.match(parseEntry(TCP6), { family: 6, state: "TIME_WAIT", mark: 2_147_483_553, original: { src: "fd00::10" } });
  t.match(parseEntry(HALF_OPEN), { state: "SYN_SENT", replied: false, start: Date.UTC(2026, 10, 1, 3, 59, 0) });
  t.match(parseEntry(UDP), { protocol: "udp", state: null, replied: true, remaining: 29, start: null });
  t.match(parseEntry(SCTP), { protocol: "sctp", state: "ESTABLISHED", remaining: 209 });
});

t.test("one that has ended, and when", async (t) => {
  t.match(parseEntry(DESTROYED), { id: "1439790256", stop: Date.UTC(2026, 10, 25, 3, 59, 10) });
});

t.test("what is no entry with ports is none", async (t) => {
  for (const line of NOT_ENTRIES) t.equal(parseEntry(line), null, line);
});

t.test("entries come out whole, wherever the output is cut", async (t) => {
  const text = [TCP, NOT_ENTRIES[1], TCP6, UDP, DESTROYED].join("\n");
  for (const size of [1, 7, 100, 10_000]) {
    const pieces = text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
    const ids: string[] = [];
    for await (const batch of batchesOf(streamOf(pieces))) ids.push(...batch.map(({ id }) => id));
    t.strictSame(ids, ["2488186466", "4070503102", "99", "1439790256"], `pieces of ${size}`);
  }
});

t.test("no line makes the reader throw", async () => {
  const lines = [TCP, TCP6, HALF_OPEN, UDP, SCTP, DESTROYED, ...NOT_ENTRIES];
  const damaged = fc
    .tuple(fc.constantFrom(...lines), fc.nat(), fc.string({ unit: "binary" }))
    .map(([line, at, harm]) => {
      const place = at % (line.length + 1);
      return line.slice(0, place) + harm + line.slice(place + harm.length);
    });
  const words = fc.array(fc.constantFrom(...lines.join(" ").split(" "))).map((all) => all.join(" "));
  fc.assert(
    fc.property(fc.oneof(damaged, words, fc.string({ unit: "binary" })), (line) => {
      parseEntry(line);
    }),
    { numRuns: 5000 },
  );
});

t.test("the last packet came as long ago as the time-out has run", async (t) => {
  const timeouts = new Map([
    ["tcp_timeout_established", 432_000],
    ["tcp_timeout_unacknowledged", 300],
    ["tcp_timeout_time_wait", 120],
    ["tcp_timeout_syn_sent", 120],
    ["udp_timeout", 30],
    ["udp_timeout_stream", 120],
  ]);
  const now = Date.UTC(2026, 0, 1);
  const ago = (line: string, change = {}) => {
    const entry = parseEntry(line);
    if (entry === null) throw new Error(line);
    const last = lastPacket({ ...entry, ...change }, timeouts, now);
    return last === null ? null : (now - last) / 1000;
  };
  t.equal(ago(TCP), 432_000 - 399_999);
  t.equal(ago(TCP, { remaining: 299 }), 1, "data that is not acknowledged is waited for 300 s");
  t.equal(ago(TCP6), 1);
  t.equal(ago(HALF_OPEN), 1);
  t.equal(ago(UDP), 91);
  t.equal(ago(UDP, { replied: false }), 1);
  t.equal(ago(SCTP), null, "the time-out is not known");
  t.equal(ago(TCP, { remaining: 999_999 }), 0, "not in the future");
});

async function* streamOf(pieces: readonly string[]): AsyncGenerator<Buffer> {
  for (const piece of pieces) yield Buffer.from(piece, "latin1");
}
