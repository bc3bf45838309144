/** IPVS's table is read as the kernel has it, and nothing that is read can do harm. */
import fc from "fast-check";
import t from "tap";
import { parseTable, parseTimeouts, parseTraffic } from "../../agent/dataplane/ipvs-table.ts";
import { TABLE, TRAFFIC } from "../support/ipvs.ts";

t.test("services of every transport and family, with how they are scheduled", async (t) => {
  const table = parseTable(TABLE);
  t.strictSame(
    table.map(({ transport, vip, port }) => [transport, vip, port]),
    [
      ["TCP", "10.0.1.100", 80],
      ["TCP", "10.0.1.100", 81],
      ["UDP", "10.0.1.100", 53],
      ["SCTP", "10.0.1.100", 80],
      ["TCP", "fd00::100", 80],
      ["SCTP", "fd00::100", 80],
    ],
  );
  t.strictSame(table[0]?.scheduler, { name: "mh", flags: ["mh-fallback"] });
  t.strictSame(table[0]?.persistence, { timeout: 60, granularity: "255.255.255.0" });
  t.strictSame(table[1]?.scheduler, { name: "wlc", flags: [] });
  t.equal(table[1]?.persistence, null);
  t.strictSame(table[3]?.scheduler.flags, ["mh-fallback", "mh-port"]);
  t.strictSame(table[3]?.persistence, { timeout: 60, granularity: null });
  t.strictSame(table[5]?.persistence, { timeout: 60, granularity: "64" });
});

t.test("destinations with their weight and connections", async (t) => {
  const table = parseTable(TABLE);
  t.strictSame(table[0]?.destinations, [
    { address: "10.0.1.31", port: 8080, weight: 5, active: 2, inactive: 3 },
    { address: "10.0.1.32", port: 8080, weight: 0, active: 0, inactive: 0 },
  ]);
  t.strictSame(table[4]?.destinations, [{ address: "fd00::31", port: 8080, weight: 0, active: 0, inactive: 0 }]);
});

t.test("what went through each service, not through its destinations", async (t) => {
  t.strictSame(
    [...parseTraffic(TRAFFIC)],
    [
      ["TCP 10.0.1.100 80", { connections: 11, bytesIn: 22_223, bytesOut: 17_738 }],
      ["UDP 10.0.1.100 53", { connections: 2, bytesIn: 58, bytesOut: 100 }],
      ["TCP fd00::100 80", { connections: 1, bytesIn: 586, bytesOut: 412 }],
    ],
  );
});

t.test("time-outs, or that they are unknown", async (t) => {
  t.strictSame(parseTimeouts("Timeout (tcp tcpfin udp): 300 120 30\n"), { tcp: 300, tcpfin: 120, udp: 30 });
  t.equal(parseTimeouts(""), null);
});

t.test("nothing that is read makes the readers throw", async () => {
  const lines = fc.array(fc.oneof(fc.constantFrom(...TABLE.split("\n"), ...TRAFFIC.split("\n")), fc.string()));
  const damaged = fc.tuple(fc.constantFrom(TABLE, TRAFFIC), fc.nat(), fc.string()).map(([text, at, harm]) => {
    const place = at % text.length;
    return text.slice(0, place) + harm + text.slice(place + harm.length);
  });
  const text = fc.oneof(
    lines.map((all) => all.join("\n")),
    damaged,
    fc.string({ unit: "binary" }),
  );
  fc.assert(
    fc.property(text, (each) => {
      parseTable(each);
      parseTraffic(each);
      parseTimeouts(each);
    }),
    { numRuns: 2000 },
  );
});
