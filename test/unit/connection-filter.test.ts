/** One language picks connections out, for the agent and for the controller. */
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import t from "tap";
import { Page } from "../../agent/connections/page.ts";
import { answer, parseQuestion, type Sources } from "../../agent/connections/question.ts";
import { Ring } from "../../agent/connections/ring.ts";
import { CommandError } from "../../agent/dataplane/inside.ts";
import {
  CONNECTION_FILTERS,
  type ConnectionField,
  connection,
  connectionsEnd,
  FilterError,
  matches,
  parseFilter,
} from "../../agent/protocol.ts";
import { aConnection } from "../support/connections.ts";
import { forwardSpec } from "../support/ipvs.ts";
import { idOf } from "../support/specs.ts";

const holds = (field: ConnectionField, value: string, one = aConnection()) =>
  matches(parseFilter({ [field]: value }), one);

t.test("plain values, for each of the eight fields", async (t) => {
  const one = aConnection();
  for (const field of CONNECTION_FILTERS) {
    t.ok(holds(field, String(one[field])), field);
    t.notOk(holds(field, field.endsWith("_ip") ? "203.0.113.1" : "1"), `another ${field}`);
  }
  const all = Object.fromEntries(CONNECTION_FILTERS.map((field) => [field, String(one[field])]));
  t.ok(matches(parseFilter(all), one), "all at once");
});

t.test("prefixes and ranges", async (t) => {
  t.ok(holds("client_src_ip", "192.0.2.0/24"));
  t.ok(holds("client_src_ip", "192.0.2.99/24"), "host bits don't count");
  t.notOk(holds("client_src_ip", "192.0.3.0/24"));
  t.ok(holds("client_src_ip", "0.0.0.0/0"));
  t.notOk(holds("client_src_ip", "::/0"), "of the other family");
  t.ok(holds("client_src_ip", "2001:DB8::/32", aConnection({ client_src_ip: "2001:db8::1" })));
  t.ok(holds("client_src_ip", "2001:DB8:0::1", aConnection({ client_src_ip: "2001:db8::1" })), "in any spelling");
  t.ok(holds("client_src_port", "8000-9000"));
  t.ok(holds("client_src_port", "8128-8128"));
  t.notOk(holds("client_src_port", "1-8127"));
});

t.test("what a connection does not have yet is matched by nothing", async (t) => {
  t.notOk(holds("forward_src_ip", "0.0.0.0/0", aConnection({ forward_src_ip: null })));
});

t.test("what can't be understood is refused with the field and what is allowed", async (t) => {
  const faults = {
    client_src_ip: ["", "x", "10.0.0", "10.0.0.1/33", "10.0.0.0/", "10.0.0.0/8/8", "::1%lo", "2001:db8::/129", "1"],
    client_src_port: ["", "0", "65536", "80-", "-80", "90-80", "80,81", "http", "1e3", " 80"],
  } as const;
  for (const field of ["client_src_ip", "client_src_port"] as const) {
    for (const value of faults[field]) {
      t.throws(
        () => parseFilter({ [field]: value }),
        { name: "FilterError", field, message: new RegExp(`^${field} must be`) },
        value,
      );
    }
  }
});

t.test("a prefix holds what ipaddr.js says that it holds", async () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.ipV4(), fc.nat({ max: 32 }), (address, network, length) => {
      const wanted = ipaddr.parse(address).match(ipaddr.parseCIDR(`${network}/${length}`));
      return holds("client_src_ip", `${network}/${length}`, aConnection({ client_src_ip: address })) === wanted;
    }),
  );
});

t.test("no filter makes the reader throw anything but its own error", async () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...CONNECTION_FILTERS),
      fc.oneof(fc.string(), fc.string({ unit: "binary" })),
      (field, value) => {
        try {
          parseFilter({ [field]: value });
        } catch (error) {
          return error instanceof FilterError;
        }
        return true;
      },
    ),
  );
});

t.test("a question with words that there are not, or twice, is refused", async (t) => {
  for (const [query, named] of [
    ["no_such=1", "no_such is unknown: there are listener, client_src_ip"],
    ["limit=0", "limit must be a number from 1 to 10000"],
    ["limit=10001", "limit must be"],
    ["limit=1&limit=2", "limit may be given once"],
    ["cursor=4-1", "cursor means nothing without limit"],
    ["include_closed=yes", "include_closed must be true or false"],
    ["client_dst_port=http", "client_dst_port must be"],
  ] as const) {
    t.throws(
      () => parseQuestion(new URLSearchParams(query)),
      { name: "FilterError", message: new RegExp(named) },
      query,
    );
  }
  t.match(parseQuestion(new URLSearchParams("")), { listener: null, limit: null, cursor: null, includeClosed: false });
});

t.test("pages, one after the other, hold every connection once and in order", async () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 0, max: 9999 }).map((n) => `4-${String(n).padStart(10, "0")}`)),
      fc.integer({ min: 1, max: 20 }),
      (ids, limit) => {
        const seen: string[] = [];
        let cursor: string | null = null;
        do {
          const page: Page = new Page(limit, cursor);
          for (const id of ids) page.add([aConnection({ id })]);
          if (page.connections.length > limit) return false;
          seen.push(...page.connections.map((each) => each.id));
          cursor = page.next;
        } while (cursor !== null);
        return JSON.stringify(seen) === JSON.stringify([...ids].sort());
      },
    ),
  );
});

t.test("a page takes the later of two with one id", async (t) => {
  const page = new Page(2, null);
  page.add([aConnection(), aConnection({ status: "CLOSED" })]);
  t.match(page.connections, [{ status: "CLOSED" }]);
  t.equal(page.next, null);
});

t.test("the ring forgets the oldest", async (t) => {
  const ring = new Ring(3);
  for (const id of ["a", "b", "c", "d"]) ring.add(aConnection({ id }));
  const found = ring.find(new Set([idOf("listener")]), {});
  t.strictSame(found.map(({ id }) => id).sort(), ["b", "c", "d"]);
  t.strictSame(ring.find(new Set(["other"]), {}), []);
});

t.test("what can't be read is named at the end, and the rest is given", async (t) => {
  const sources: Sources = {
    async *forwarded() {
      yield [aConnection()];
      throw new CommandError("no kernel");
    },
    async *served() {},
    ended: () => [aConnection({ id: "4-0000000002", status: "CLOSED" })],
  };
  const question = { ...parseQuestion(new URLSearchParams("")), includeClosed: true };
  const lines: unknown[] = [];
  for await (const batch of answer(question, forwardSpec(), sources)) lines.push(...batch);
  const end = connectionsEnd.parse(lines.pop());
  t.strictSame(end, { end: { next: null, missing: [`listener ${idOf("listener")}: no kernel`] } });
  t.strictSame(
    lines.map((each) => connection.parse(each).id),
    ["4-0000000001", "4-0000000002"],
  );
});
