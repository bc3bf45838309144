/** A heartbeat is believed only when it is whole and sealed with the amphora's own key. */
import { createHmac, randomBytes } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import {
  claimedSender,
  encodeHeartbeat,
  HEARTBEAT_MAX_BYTES,
  type Heartbeat,
  openHeartbeat,
} from "../../agent/protocol.ts";
import { idOf } from "../support/specs.ts";

const KEY = randomBytes(32);

const heartbeat: fc.Arbitrary<Heartbeat> = fc.record({
  amphoraId: fc.uuid(),
  sequence: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  time: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  body: fc.record({
    revision: fc.nat(),
    digest: fc.stringMatching(/^[0-9a-f]{16}$/),
    load: fc.float({ min: 0, max: 1000, noNaN: true }).map(Math.abs),
    stats: listeners({ maxLength: 8 }),
  }),
});

t.test("what was sealed is opened unchanged", async () => {
  fc.assert(
    fc.property(heartbeat, fc.uint8Array({ minLength: 32, maxLength: 64 }), (sent, key) => {
      const secret = Buffer.from(key);
      const opened = openHeartbeat(encodeHeartbeat(sent, secret), secret);
      return JSON.stringify(plain(opened)) === JSON.stringify(plain(sent));
    }),
  );
});

t.test("it fits one datagram whatever the number of listeners, and keeps all but the counters", async (t) => {
  let left = 0;
  fc.assert(
    fc.property(heartbeat, listeners({ maxLength: 60 }), (base, stats) => {
      const sent = { ...base, body: { ...base.body, stats } };
      const datagram = encodeHeartbeat(sent, KEY);
      const opened = openHeartbeat(datagram, KEY);
      if (opened === null || datagram.length > HEARTBEAT_MAX_BYTES) return false;
      if (opened.body.stats === undefined) left++;
      const { stats: _, ...body } = sent.body;
      return JSON.stringify(opened.body) === JSON.stringify(opened.body.stats === undefined ? body : sent.body);
    }),
  );
  t.ok(left > 0, "some did not fit with their counters");
});

t.test("counters are left out only when they don't fit", async (t) => {
  for (const count of [0, 1, 5, 10]) {
    const opened = openHeartbeat(encodeHeartbeat(example(count), KEY), KEY);
    t.equal(opened?.body.stats?.length, count);
  }
  t.equal(openHeartbeat(encodeHeartbeat(example(100), KEY), KEY)?.body.stats, undefined);
});

t.test("one changed byte, wherever it is, and it is refused", async (t) => {
  const datagram = encodeHeartbeat(example(3), KEY);
  for (let i = 0; i < datagram.length; i++) {
    for (const bit of [1, 0x80]) {
      const changed = Buffer.from(datagram);
      changed[i] = (changed[i] ?? 0) ^ bit;
      if (openHeartbeat(changed, KEY) !== null) t.fail(`byte ${i}`);
    }
  }
  t.ok(openHeartbeat(datagram, KEY), "the unchanged one is not");
});

t.test("another key opens nothing", async (t) => {
  t.equal(openHeartbeat(encodeHeartbeat(example(3), KEY), randomBytes(32)), null);
});

t.test("a part of a heartbeat, or more than one, is refused", async (t) => {
  const datagram = encodeHeartbeat(example(3), KEY);
  for (let length = 0; length < datagram.length; length++) {
    if (openHeartbeat(datagram.subarray(0, length), KEY) !== null) t.fail(`cut to ${length} bytes`);
    if (openHeartbeat(datagram.subarray(datagram.length - length), KEY) !== null) t.fail(`its last ${length} bytes`);
  }
  t.equal(openHeartbeat(Buffer.concat([datagram, Buffer.from("x")]), KEY), null);
  t.equal(openHeartbeat(Buffer.concat([datagram, datagram]), KEY), null);
});

t.test("a body of another form is refused, even when it is sealed", async (t) => {
  for (const body of [{}, { ...example(0).body, revision: "1" }, { ...example(0).body, stats: [["x"]] }, null, 7]) {
    t.equal(openHeartbeat(sealed(JSON.stringify(body)), KEY), null, JSON.stringify(body));
  }
  t.equal(openHeartbeat(sealed("{"), KEY), null, "no JSON");
  t.ok(openHeartbeat(sealed(JSON.stringify(example(0).body)), KEY), "the right form is opened");
});

t.test("who it claims to be from is read before anything is believed", async (t) => {
  t.equal(claimedSender(encodeHeartbeat(example(1), randomBytes(32))), idOf("amphora"));
  t.equal(claimedSender(Buffer.from("AMP1")), null);
  t.equal(claimedSender(Buffer.alloc(200)), null);
});

t.test("no datagram makes the receiver throw", async () => {
  const whole = encodeHeartbeat(example(2), KEY);
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 2000 }),
    // looks like one from the outside
    fc.uint8Array({ minLength: 64, maxLength: 1228 }).map((bytes) => Buffer.concat([Buffer.from("AMP1"), bytes])),
    fc
      .tuple(fc.nat({ max: whole.length }), fc.uint8Array({ maxLength: 300 }))
      .map(([keep, rest]) => Buffer.concat([whole.subarray(0, keep), rest])),
  );
  fc.assert(
    fc.property(garbage, (bytes) => {
      const datagram = Buffer.from(bytes);
      fc.pre(!datagram.equals(whole));
      claimedSender(datagram);
      return openHeartbeat(datagram, KEY) === null;
    }),
    { numRuns: 2000 },
  );
});

function listeners({ maxLength }: { maxLength: number }) {
  const counter = fc.nat({ max: Number.MAX_SAFE_INTEGER });
  return fc.array(fc.tuple(fc.uuid(), fc.nat(), counter, counter, counter, fc.nat()), { maxLength });
}

function example(count: number): Heartbeat {
  const stats = Array.from({ length: count }, (_, i): [string, number, number, number, number, number] => [
    idOf("listener", i),
    1,
    2,
    3,
    4,
    5,
  ]);
  const body = { revision: 7, digest: "0123456789abcdef", load: 0.5, stats };
  return { amphoraId: idOf("amphora"), sequence: 9n, time: 1_700_000_000_000, body };
}

/** Any body behind a true header, with a true seal. */
function sealed(body: string): Buffer {
  const signed = Buffer.concat([encodeHeartbeat(example(0), KEY).subarray(0, 36), Buffer.from(body)]);
  return Buffer.concat([signed, createHmac("sha256", KEY).update(signed).digest()]);
}

function plain(heartbeat: Heartbeat | null): unknown {
  return heartbeat === null ? null : { ...heartbeat, sequence: String(heartbeat.sequence) };
}
