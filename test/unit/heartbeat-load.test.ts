/** What happens to heartbeats when more come than can be read, and to the clock that their silence is told by. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { Backlog } from "../../controller/health/backlog.ts";
import { Hearing } from "../../controller/health/hearing.ts";

/** Reads so many in one turn, which ends at `now`. */
function turn(backlog: Backlog, count: number, now: number): void {
  for (let i = 0; i < count; i++) backlog.read();
  backlog.turnEnded(now);
}

t.test("as long as the socket is emptied, nobody is passed over", async (t) => {
  const backlog = new Backlog(3000);
  t.equal(backlog.recent(0), 0);
  for (let now = 0; now < 1000; now += 10) {
    turn(backlog, now % 20 === 0 ? 32 : 31, now);
    t.ok(backlog.recent(now) <= 0);
  }
});

t.test("the longer datagrams wait, the longer ago is recent, up to the limit", async (t) => {
  const backlog = new Backlog(3000);
  turn(backlog, 32, 1000);
  t.equal(backlog.recent(1010), 100);
  turn(backlog, 32, 1100);
  t.equal(backlog.recent(1200), 2000, "it counts from the first full turn");
  t.equal(backlog.recent(60_000), 3000, "who was silent for longer is always listened to");
  turn(backlog, 31, 60_000);
  t.equal(backlog.recent(60_000), 0, "and all are again as soon as nothing waits");
});

t.test("where heartbeats are rare compared with the limit of silence, nobody is passed over", async (t) => {
  const backlog = new Backlog(-500);
  turn(backlog, 32, 0);
  t.equal(backlog.recent(10_000), 0);
});

t.test("only the first of a turn asks for its end", async (t) => {
  const backlog = new Backlog(3000);
  t.strictSame([backlog.read(), backlog.read()], [true, false]);
  t.notOk(backlog.turnEnded(0));
  t.ok(backlog.read());
});

t.test("the last datagrams may fill a turn: the next one, which reads none, tells that nothing waits", async (t) => {
  const backlog = new Backlog(3000);
  for (let i = 0; i < 32; i++) backlog.read();
  t.ok(backlog.turnEnded(0), "the end of the next is to be told");
  t.notOk(backlog.read(), "which nobody else asks for");
  for (let i = 0; i < 31; i++) backlog.read();
  t.ok(backlog.turnEnded(10));
  t.equal(backlog.recent(500), 3000);
  t.notOk(backlog.turnEnded(500));
  t.equal(backlog.recent(500), 0);
});

t.test("the clock of silence stands still while the process does", async (t) => {
  const hearing = new Hearing(async () => ({ read: 0, lost: 0 }));
  hearing.start();
  t.teardown(() => hearing.stop());
  const before = hearing.now();
  const until = performance.now() + 1500;
  while (performance.now() < until);
  // whether the timer or this comes first
  await hearing.check(0);
  t.ok(hearing.now() - before <= 1000, "most of it does not count");
});

t.test("silence means nothing until nothing was lost for as long", async (t) => {
  let arrivals = { read: 0, lost: 0 };
  const hearing = new Hearing(async () => arrivals);
  t.ok(await hearing.check(200));
  arrivals = { read: 100, lost: 5 };
  t.ok(await hearing.check(200), "a few of many are no matter: each says the same several times");
  arrivals = { read: 200, lost: 15 };
  t.notOk(await hearing.check(200));
  t.notOk(await hearing.check(200), "nor when nothing more is lost, at first");
  await sleep(250);
  t.ok(await hearing.check(200));
});
