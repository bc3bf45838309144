/** Counters are totals since the amphora was made: no reload, restart or lost answer makes one of them fall. */
import fc from "fast-check";
import t from "tap";
import type { WorkerStats } from "../../agent/dataplane/haproxy.ts";
import type { StatRow } from "../../agent/dataplane/haproxy-stats.ts";
import { type Counters, NO_TRAFFIC } from "../../agent/protocol.ts";
import { Ledger, type LedgerState } from "../../agent/report.ts";

t.test("before any traffic everything is 0", async (t) => {
  t.strictSame(new Ledger().totals("a"), NO_TRAFFIC);
});

t.test("one worker's counters are the totals", async (t) => {
  const ledger = new Ledger();
  ledger.update(workers({ 1: { a: 3, b: 5 } }));
  ledger.update(workers({ 1: { a: 4, b: 5 } }));
  t.strictSame(ledger.totals("a"), counted(4));
  t.strictSame(ledger.totals("b"), counted(5));
  t.strictSame(ledger.totals("c"), NO_TRAFFIC);
});

t.test("after a reload the old worker goes on counting beside the new one", async (t) => {
  const ledger = new Ledger();
  ledger.update(workers({ 1: { a: 10 } }));
  ledger.update(workers({ 1: { a: 10 }, 2: { a: 0 } }));
  t.strictSame(ledger.totals("a"), counted(10));
  ledger.update(workers({ 1: { a: 12 }, 2: { a: 3 } }));
  t.strictSame(ledger.totals("a"), counted(15));
});

t.test("when a worker has ended its totals stay, and its open connections are gone", async (t) => {
  const ledger = new Ledger();
  ledger.update(workers({ 1: { a: 12 }, 2: { a: 3 } }));
  ledger.update(workers({ 2: { a: 4 } }));
  t.strictSame(ledger.totals("a"), { ...counted(16), active_connections: 4 });
});

t.test("a worker that did not answer this time has not counted less", async (t) => {
  const ledger = new Ledger();
  ledger.update(workers({ 1: { a: 12 }, 2: { a: 3 } }));
  ledger.update(workers({ 1: {}, 2: { a: 3 } }));
  t.strictSame(ledger.totals("a"), counted(15));
  ledger.update(workers({ 1: { a: 13 }, 2: { a: 3 } }));
  t.strictSame(ledger.totals("a"), counted(16), "and is not counted twice when it answers again");
  ledger.update(workers({ 1: {}, 2: { a: 3 } }));
  ledger.update(workers({ 2: { a: 3 } }));
  t.equal(ledger.totals("a").total_connections, 16, "nor lost when it ends without another answer");
});

t.test("a restarted agent goes on from its saved state", async (t) => {
  const before = new Ledger();
  before.update(workers({ 1: { a: 12 } }));
  before.update(workers({ 2: { a: 3 } }));
  const after = restarted(before);
  t.strictSame(after.totals("a"), before.totals("a"));
  after.update(workers({ 2: { a: 5 } }));
  t.equal(after.totals("a").total_connections, 17, "the worker that lived on is not counted twice");
  const later = restarted(after);
  later.update(workers({ 3: { a: 1 } }));
  t.equal(later.totals("a").total_connections, 18, "one that ended meanwhile is not lost");
});

t.test("a process id that comes again is a new worker", async (t) => {
  for (const again of [{ a: 2, b: 6 }, { b: 1 }]) {
    const ledger = new Ledger();
    ledger.update(workers({ 1: { a: 10, b: 5 } }));
    ledger.update(workers({ 1: again }));
    t.equal(ledger.totals("a").total_connections, 10 + (again.a ?? 0));
    t.equal(ledger.totals("b").total_connections, 5 + again.b);
  }
});

t.test("it shows in any counter", async (t) => {
  const ledger = new Ledger();
  ledger.update(new Map([[1, [row("a", { ...counted(1), bytes_out: 1_000_000 })]]]));
  ledger.update(new Map([[1, [row("a", counted(2))]]]));
  t.equal(ledger.totals("a").bytes_out, 1_000_000 + counted(2).bytes_out);
});

t.test("a listener that is gone leaves nothing behind", async (t) => {
  const ledger = new Ledger();
  ledger.update(workers({ 1: { a: 10, b: 5 } }));
  ledger.update(workers({ 2: { a: 0 } }));
  ledger.keepOnly(new Set(["a"]));
  t.strictSame(ledger.totals("b"), NO_TRAFFIC);
  t.equal(ledger.totals("a").total_connections, 10);
});

/** One look at the data plane: what happened since the last one, and whether the agent was restarted before it. */
interface Step {
  readonly reload: boolean;
  readonly endOld: boolean;
  readonly silent: boolean;
  readonly agentRestart: boolean;
  readonly pid: number;
  readonly traffic: readonly number[];
}

t.test("whatever happens, totals never fall and miss only what nobody saw", async (t) => {
  const step: fc.Arbitrary<Step> = fc.record({
    reload: fc.boolean(),
    endOld: fc.boolean(),
    silent: fc.boolean(),
    agentRestart: fc.boolean(),
    // few, so that ids come again
    pid: fc.nat({ max: 5 }),
    traffic: fc.array(fc.nat({ max: 9 }), { minLength: 6, maxLength: 6 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let ledger = new Ledger();
      const living = new Map<number, number>([[0, 0]]);
      let worker = 0;
      let last = 0;
      let traffic = 0;
      for (const { reload, endOld, silent, agentRestart, pid, traffic: more } of steps) {
        if (agentRestart) ledger = restarted(ledger);
        if (reload && !living.has(pid)) {
          living.set(pid, 0);
          worker = pid;
        }
        if (endOld) for (const id of [...living.keys()]) if (id !== worker) living.delete(id);
        for (const [id, count] of living) living.set(id, count + (more[id] ?? 0));
        traffic += [...living.keys()].reduce((sum, id) => sum + (more[id] ?? 0), 0);
        const shown = [...living].map(([id, count]): [number, StatRow[]] => [
          id,
          silent && id !== worker ? [] : [row("a", counted(count))],
        ]);
        ledger.update(new Map(shown));
        const { total_connections: total } = ledger.totals("a");
        if (total < last || total > traffic) return false;
        last = total;
      }
      return true;
    }),
  );
  t.pass();
});

/** An agent that was killed and started again: it knows what stood in the file. */
function restarted(ledger: Ledger): Ledger {
  const saved: LedgerState = JSON.parse(JSON.stringify(ledger.state()));
  return new Ledger(saved);
}

/** process id -> listener -> how much it counts; a worker without listeners gave no answer. */
function workers(counts: Record<number, Record<string, number>>): WorkerStats {
  return new Map(
    Object.entries(counts).map(([pid, listeners]) => [
      Number(pid),
      Object.entries(listeners).map(([id, count]) => row(id, counted(count))),
    ]),
  );
}

function row(listener: string, counters: Counters): StatRow {
  return { proxy: listener, server: "FRONTEND", status: "OPEN", sessionLimit: 1000, counters };
}

function counted(n: number): Counters {
  return {
    active_connections: n,
    total_connections: n,
    bytes_in: 10 * n,
    bytes_out: 100 * n,
    request_errors: n,
  };
}
