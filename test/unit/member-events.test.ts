/** keepalived's word on its members is taken in as it comes, in pieces or all at once, and nothing else is. */
import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import t from "tap";
import { MemberEvents, parseEvent } from "../../agent/dataplane/member-events.ts";
import { eventually } from "../support/agent.ts";

t.test("a line of keepalived 2.2 and 2.3", async (t) => {
  t.strictSame(parseEvent("RS [10.0.0.2]:tcp:8080 [10.0.0.1]:tcp:80 UP"), {
    service: "TCP 10.0.0.1 80",
    address: "10.0.0.2",
    port: 8080,
    up: true,
  });
  t.match(parseEvent("RS [fd00::2]:udp:53 [fd00::1]:udp:53 DOWN"), { service: "UDP fd00::1 53", up: false });
  for (const line of ["", "VS [10.0.0.1]:tcp:80 UP", "RS [x]:tcp:1 [y]:tcp:1 UP", "RS [10.0.0.2]:tcp:1 FWM 1 UP"]) {
    t.equal(parseEvent(line), null, line);
  }
});

t.test("no line makes the reader throw", async () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((text) => `RS [${text}]:tcp:1 [::1]:tcp:1 UP`),
      ),
      (line) => {
        parseEvent(line);
      },
    ),
  );
});

t.test("what was said last counts; what was said before anybody read is not lost", async (t) => {
  const path = join(t.testdir(), "fifo");
  let heard = 0;
  const events = new MemberEvents(path, () => heard++);
  t.teardown(() => events.close());
  await events.open();
  t.equal(events.verdict("TCP 10.0.0.1 80", "10.0.0.2", 8080), undefined);
  await appendFile(path, "RS [10.0.0.2]:tcp:8080 [10.0.0.1]:tcp:80 UP\nRS [10.0.0.2]:tcp:80");
  await eventually("the first line is taken in", async () => events.verdict("TCP 10.0.0.1 80", "10.0.0.2", 8080));
  await appendFile(path, "80 [10.0.0.1]:tcp:80 DOWN\n");
  await eventually("and the second", async () => events.verdict("TCP 10.0.0.1 80", "10.0.0.2", 8080) === false);
  t.ok(heard >= 2);
  events.keepOnly(new Set(["TCP 10.0.0.1 80 10.0.0.2 8080"]));
  t.equal(events.verdict("TCP 10.0.0.1 80", "10.0.0.2", 8080), false);
  events.keepOnly(new Set());
  t.equal(events.verdict("TCP 10.0.0.1 80", "10.0.0.2", 8080), undefined);
});

t.test("what stands in the pipe's place is replaced", async (t) => {
  const path = join(t.testdir(), "fifo");
  await writeFile(path, "no pipe");
  const events = new MemberEvents(path, () => undefined);
  t.teardown(() => events.close());
  await events.open();
  await appendFile(path, "RS [10.0.0.2]:tcp:1 [10.0.0.1]:tcp:1 UP\n");
  await eventually("it is read", async () => events.verdict("TCP 10.0.0.1 1", "10.0.0.2", 1));
});
