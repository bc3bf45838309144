/** Nothing that a forged or replayed datagram says is believed. */
import { randomBytes, randomUUID } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import pino from "pino";
import t, { type Test } from "tap";
import { encodeHeartbeat, HEARTBEAT_MAX_BYTES, type Heartbeat } from "../../agent/protocol.ts";
import type { KeysOf } from "../../controller/health/keys.ts";
import { HeartbeatReceiver, ListenError, type Refusal } from "../../controller/health/receiver.ts";
import { until } from "../support/deployment.ts";

const PORT = 5555;
/** Who was unknown is asked for again after this (ms). */
const UNKNOWN_FOR = 2000;
const AMPHORA = randomUUID();
const KEY = randomBytes(32);
const THE_ONE: KeysOf = async () => new Map([[AMPHORA, KEY]]);
const BODY = { revision: 3, digest: "0123456789abcdef", load: 0.5 };

t.test("a good heartbeat is believed, once, with all that it says", async (t) => {
  const { receiver, heard, send } = await listening(t);
  const stats: Heartbeat["body"]["stats"] = [[randomUUID(), 1, 2, 3, 4, 5]];
  const heartbeat = aHeartbeat({ sequence: 7n, body: { ...BODY, stats } });
  const datagram = encodeHeartbeat(heartbeat, KEY);
  for (let times = 0; times < 5; times++) await send(datagram);
  t.strictSame(heard, [heartbeat]);
  t.equal(receiver.believed, 1);
  t.strictSame(receiver.refused, refused({ replayed: 4 }));
});

t.test("of heartbeats out of order, those that others have overtaken are not believed", async (t) => {
  const { heard, send, receiver } = await listening(t);
  for (const sequence of [5n, 3n, 6n, 6n, 1n, 10n, 9n, 2n ** 64n - 1n, 11n]) {
    await send(encodeHeartbeat(aHeartbeat({ sequence }), KEY));
  }
  t.strictSame(
    heard.map(({ sequence }) => sequence),
    [5n, 6n, 10n, 2n ** 64n - 1n],
  );
  t.strictSame(receiver.refused, refused({ replayed: 5 }));
});

t.test("a heartbeat under another's key, or with a bit changed anywhere, is not believed", async (t) => {
  const { heard, send, receiver } = await listening(t);
  await send(encodeHeartbeat(aHeartbeat(), randomBytes(32)));
  t.strictSame(receiver.refused, refused({ forged: 1 }));
  const datagram = encodeHeartbeat(aHeartbeat(), KEY);
  for (let i = 0; i < datagram.length; i++) {
    const changed = Buffer.from(datagram);
    changed[i] = (changed[i] ?? 0) ^ (1 << (i % 8));
    await send(changed);
  }
  t.strictSame(heard, []);
  const { malformed, unknown, forged } = receiver.refused;
  t.strictSame([malformed, unknown, forged], [4, 16, datagram.length - 20 + 1], "magic, id, and the rest");
  await send(datagram);
  t.equal(heard.length, 1, "the right one still is");
});

t.test("a heartbeat with a good seal around nonsense is not believed", async (t) => {
  const { heard, send, receiver } = await listening(t);
  const nonsense = [{}, { revision: "3", digest: "x", load: 1 }, { ...BODY, stats: [["x"]] }, { ...BODY, load: null }];
  for (const body of nonsense) {
    // a heartbeat's type would not let it be sealed
    const text = JSON.stringify(body);
    const parsed: Heartbeat["body"] = JSON.parse(text);
    await send(encodeHeartbeat(aHeartbeat({ body: parsed }), KEY));
  }
  t.strictSame(heard, []);
  t.strictSame(receiver.refused, refused({ forged: nonsense.length }));
});

t.test("what is no heartbeat at all is counted, and nothing more", async (t) => {
  const { heard, send, receiver } = await listening(t);
  const whole = encodeHeartbeat(aHeartbeat(), KEY);
  const datagrams = [
    Buffer.alloc(0),
    Buffer.from("AMP1"),
    whole.subarray(0, 69),
    Buffer.concat([whole, Buffer.alloc(HEARTBEAT_MAX_BYTES)]),
    randomBytes(200),
    Buffer.from(`BAD1${whole.toString("latin1", 4)}`, "latin1"),
    Buffer.from("GET / HTTP/1.1\r\n\r\n".repeat(5)),
  ];
  for (const datagram of datagrams) await send(datagram);
  t.strictSame(heard, []);
  t.strictSame(receiver.refused, refused({ malformed: datagrams.length }));
});

t.test("a heartbeat of another hour is not believed, nor one from before this program began", async (t) => {
  const before = Date.now() - 1000;
  const { heard, send, receiver } = await listening(t);
  for (const time of [Date.now() - 61_000, Date.now() + 61_000, 0, Number.MAX_SAFE_INTEGER]) {
    await send(encodeHeartbeat(aHeartbeat({ sequence: 100n, time }), KEY));
  }
  t.strictSame(receiver.refused, refused({ clock: 4 }));
  await send(encodeHeartbeat(aHeartbeat({ sequence: 100n, time: before }), KEY));
  t.strictSame(receiver.refused, refused({ clock: 4, replayed: 1 }), "it was recorded, for all that we know");
  await send(encodeHeartbeat(aHeartbeat({ sequence: 1n, time: Date.now() + 50_000 }), KEY));
  t.equal(heard.length, 1, "clocks may differ a little, and what was refused counts for nothing");
});

t.test("of an amphora that there is not, nothing is believed, until there is one", async (t) => {
  const keys = new Map<string, Buffer>();
  let asked = 0;
  const { heard, send, receiver } = await listening(t, async () => {
    asked++;
    return keys;
  });
  let sequence = 1n;
  const next = () => send(encodeHeartbeat(aHeartbeat({ sequence: sequence++ }), KEY));
  const started = performance.now();
  for (let times = 0; times < 20; times++) await next();
  t.strictSame(receiver.refused, refused({ unknown: 20 }));
  t.ok(asked <= 1 + (performance.now() - started) / UNKNOWN_FOR, "the store is not asked every time");
  keys.set(AMPHORA, KEY);
  await until("it is believed", async () => {
    await next();
    return heard.length > 0;
  });
  receiver.forget(AMPHORA);
  keys.clear();
  const believed = heard.length;
  await next();
  t.equal(heard.length, believed, "nor is it, once it is forgotten");
});

t.test("while the store does not answer nothing is believed, and then everything again", async (t) => {
  let failures = 0;
  let works = false;
  const { heard, send } = await listening(t, async () => {
    if (works) return new Map([[AMPHORA, KEY]]);
    failures++;
    throw new Error("no connection");
  });
  await send(encodeHeartbeat(aHeartbeat({ sequence: 1n }), KEY), false);
  await until("the store was asked", async () => failures === 1);
  works = true;
  await send(encodeHeartbeat(aHeartbeat({ sequence: 2n }), KEY));
  t.strictSame(
    heard.map(({ sequence }) => sequence),
    [2n],
  );
});

t.test("when more come than can be read, those heard just before go first, and nobody else does", async (t) => {
  const many = Array.from({ length: 100 }, () => randomUUID());
  const keys = new Map([AMPHORA, ...many].map((id) => [id, KEY]));
  const { heard, receiver, socket, send } = await listening(t, async () => keys);
  await send(encodeHeartbeat(aHeartbeat(), KEY));
  const heartbeats = Array.from({ length: 20_000 }, (_, i) =>
    encodeHeartbeat(aHeartbeat({ sequence: BigInt(i + 2) }), KEY),
  );
  const others = many.map((amphoraId) => encodeHeartbeat(aHeartbeat({ amphoraId }), KEY));
  // of every 200 that arrive, one is of an amphora not heard yet
  let sent = 0;
  while (sent < heartbeats.length) {
    for (const each of heartbeats.slice(sent, sent + 199)) socket.send(each);
    const other = others[sent / 199];
    if (other !== undefined) socket.send(other);
    sent += 199;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await until("the others were all heard", async () => {
    // what the kernel had no room for comes again
    const known = new Set(heard.map(({ amphoraId }) => amphoraId));
    for (const [i, id] of many.entries()) if (!known.has(id)) socket.send(others[i] ?? "");
    return many.every((id) => known.has(id));
  });
  t.ok(receiver.shed > 0, `${receiver.shed} were passed over`);
  const arrived = async () => (await receiver.arrivals()).read;
  await until("nothing waits", async () => {
    const before = await arrived();
    await sleep(200);
    return (await arrived()) === before;
  });
  const shed = receiver.shed;
  await send(encodeHeartbeat(aHeartbeat({ sequence: 100_000n }), KEY));
  t.equal(receiver.shed, shed, "and all are heard again when nothing waits");
});

t.test("what the kernel had no room for is known", async (t) => {
  const { receiver, socket } = await listening(t);
  t.equal(await receiver.lost(), 0);
  // nothing is read meanwhile; these are more than there is room for, whatever the kernel allows
  for (let i = 0; i < 50_000; i++) socket.send(Buffer.alloc(1200));
  await until("they are counted", async () => (await receiver.lost()) > 0);
});

t.test("a port in another's hands is told by its address", async (t) => {
  await listening(t);
  const receiver = newReceiver(THE_ONE, []);
  await t.rejects(receiver.start(), { constructor: ListenError, message: /127\.0\.0\.1:5555 \(UDP\): .*EADDRINUSE/ });
});

function aHeartbeat(given: Partial<Heartbeat> = {}): Heartbeat {
  return { amphoraId: AMPHORA, sequence: 1n, time: Date.now(), body: BODY, ...given };
}

function refused(given: Partial<Record<Refusal, number>>): Record<Refusal, number> {
  return { malformed: 0, unknown: 0, forged: 0, replayed: 0, clock: 0, ...given };
}

function newReceiver(keysOf: KeysOf, heard: Heartbeat[]): HeartbeatReceiver {
  return new HeartbeatReceiver({
    address: "127.0.0.1",
    port: PORT,
    keysOf,
    mostRecent: 3000,
    onHeartbeat: (heartbeat) => heard.push(heartbeat),
    log: pino({ level: "silent" }),
  });
}

/** A receiver that knows one amphora, unless `keysOf` says otherwise. `send` returns when the datagram has been dealt with. */
async function listening(t: Test, keysOf: KeysOf = THE_ONE) {
  const heard: Heartbeat[] = [];
  const receiver = newReceiver(keysOf, heard);
  await receiver.start();
  t.teardown(() => receiver.stop());
  const socket: Socket = createSocket("udp4");
  socket.connect(PORT, "127.0.0.1");
  await once(socket, "connect");
  t.teardown(() => socket.close());
  const dealtWith = () => receiver.believed + Object.values(receiver.refused).reduce((sum, count) => sum + count, 0);
  const send = async (datagram: Buffer, counted = true) => {
    const before = dealtWith();
    socket.send(datagram);
    if (counted) await until("the datagram is dealt with", async () => dealtWith() > before);
  };
  return { receiver, heard, send, socket };
}
