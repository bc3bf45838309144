/** PING monitors: who is pinged when, and what HAProxy is told. */
import { setImmediate } from "node:timers/promises";
import pino from "pino";
import t from "tap";
import type { StatRow } from "../../agent/dataplane/haproxy-stats.ts";
import { answered, PingError } from "../../agent/dataplane/ping.ts";
import { Pinger } from "../../agent/pinger.ts";
import { NO_TRAFFIC } from "../../agent/protocol.ts";
import { idOf, member, monitor, pool, spec } from "../support/specs.ts";

const BACKEND = `${idOf("pool")}:http:5000:50000`;
const CHECKED = { type: "PING", delay: 2, timeout: 1, max_retries: 2, max_retries_down: 3 } as const;
const PINGED = spec({ pools: [pool(1, [member(1), member(2)], { health_monitor: monitor(CHECKED) })] });

/** Addresses, some of which answer. */
class Network {
  answering: string[];
  failure: Error | null = null;
  readonly asked: string[][] = [];
  changes = 0;
  #now = 0;
  readonly pinger = new Pinger({
    ping: async (addresses) => {
      this.asked.push([...addresses]);
      if (this.failure !== null) throw this.failure;
      return new Set(addresses.filter((each) => this.answering.includes(each)));
    },
    onChange: () => this.changes++,
    log: pino({ level: "silent" }),
  });

  constructor(answering: string[]) {
    this.answering = answering;
  }

  /** So many pings. @param status of member 1 @returns what HAProxy must be told then */
  async round(times: number, status = "no check"): Promise<string[]> {
    const rows = [row(1, status), row(2, "no check")];
    for (let i = 0; i < times; i++) {
      this.pinger.beat(PINGED, rows, this.#now);
      this.#now += 2000;
      await this.pinger.idle();
      await setImmediate();
    }
    return this.pinger.corrections(PINGED, rows).map(({ line }) => line);
  }
}

function row(number: number, status: string): StatRow {
  return { proxy: BACKEND, server: idOf("member", number), status, sessionLimit: 0, counters: NO_TRAFFIC };
}

t.test("each member is pinged once in the monitor's delay, where its monitor_address is", async (t) => {
  const net = new Network(["10.77.0.21", "10.77.0.99"]);
  const members = [member(1), member(2, { monitor_address: "10.77.0.99" })];
  const one = spec({ pools: [pool(1, members, { health_monitor: monitor(CHECKED) })] });
  for (const now of [0, 1000, 1999, 2000, 2500]) {
    net.pinger.beat(one, [], now);
    await net.pinger.idle();
  }
  t.strictSame(net.asked, [
    ["10.77.0.21", "10.77.0.99"],
    ["10.77.0.21", "10.77.0.99"],
  ]);
});

t.test(
  "a monitor that waits for longer than it pauses has one ping under way, which ends with the pinger",
  async (t) => {
    const waits: number[] = [];
    const pinger = new Pinger({
      ping: (_, timeout, signal) => {
        waits.push(timeout);
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new PingError("called off"))));
      },
      onChange: () => t.fail("nothing is known"),
      log: pino({ level: "silent" }),
    });
    const patient = monitor({ ...CHECKED, timeout: 2_147_483 });
    const one = spec({ pools: [pool(1, [member(1)], { health_monitor: patient })] });
    for (let now = 0; now < 60_000; now += 1000) pinger.beat(one, [], now);
    t.strictSame(waits, [60_000]);
    await pinger.stop();
  },
);

t.test("a member is down after max_retries_down silences in a row, and up after max_retries answers", async (t) => {
  const net = new Network(["10.77.0.22"]);
  t.strictSame(await net.round(3), [`set server ${BACKEND}/${idOf("member", 1)} health down`]);
  t.equal(net.changes, 1);
  net.answering = ["10.77.0.21", "10.77.0.22"];
  t.strictSame(await net.round(1, "DOWN"), []);
  net.answering = [];
  await net.round(1, "DOWN");
  net.answering = ["10.77.0.21", "10.77.0.22"];
  t.strictSame(await net.round(1, "DOWN"), [], "two in a row are needed");
  t.strictSame(await net.round(1, "DOWN"), [`set server ${BACKEND}/${idOf("member", 1)} health up`]);
});

t.test("an agent that has just begun takes from HAProxy who is down", async (t) => {
  const net = new Network(["10.77.0.21", "10.77.0.22"]);
  t.strictSame(await net.round(1, "DOWN"), []);
  t.strictSame(await net.round(1, "DOWN"), [`set server ${BACKEND}/${idOf("member", 1)} health up`]);
});

t.test("a HAProxy that has forgotten is told again", async (t) => {
  const net = new Network(["10.77.0.22"]);
  await net.round(3);
  t.strictSame(await net.round(1, "DOWN"), []);
  t.strictSame(await net.round(1, "no check"), [`set server ${BACKEND}/${idOf("member", 1)} health down`]);
});

t.test("disabled members, and those of other monitors, are not pinged", async (t) => {
  const net = new Network([]);
  const disabled = spec({
    pools: [pool(1, [member(1, { admin_state_up: false })], { health_monitor: monitor(CHECKED) })],
  });
  const tcp = spec({ pools: [pool(1, [member(1)], { health_monitor: monitor({ ...CHECKED, type: "TCP" }) })] });
  const off = spec({
    pools: [pool(1, [member(1)], { health_monitor: monitor({ ...CHECKED, admin_state_up: false }) })],
  });
  for (const one of [disabled, tcp, off]) net.pinger.beat(one, [], 0);
  t.strictSame(net.asked, []);
  t.ok(Pinger.isNeeded(PINGED));
  t.notOk(Pinger.isNeeded(tcp));
});

t.test("when nobody can be pinged, everybody stays as they are", async (t) => {
  const net = new Network([]);
  net.failure = new PingError("no fping");
  t.strictSame(await net.round(5), []);
});

t.test("fping's summary is read", async (t) => {
  t.strictSame(
    [...answered("10.9.0.1  : 0.042\n::1       : 0.022\n192.0.2.1 : -\nICMP Host Unreachable\n")],
    ["10.9.0.1", "::1"],
  );
});
