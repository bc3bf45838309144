/** A daemon's log: its last words are read, and it does not fill the memory. */
import { closeSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { DaemonLog } from "../../agent/dataplane/daemon-log.ts";

const folder = await mkdtemp(join(tmpdir(), "amphora-log-"));
t.teardown(() => rm(folder, { recursive: true }));

t.test("what was said since a moment", async (t) => {
  const log = new DaemonLog(join(folder, "words.log"));
  t.equal(await log.length(), 0);
  t.equal(await log.since(0), "");
  const output = log.openToWrite();
  writeSync(output, "before\n");
  const offset = await log.length();
  writeSync(output, "after\n");
  t.equal(await log.since(offset), "after\n");
  t.equal(await log.since(1000), "");
  closeSync(output);
});

t.test("it is cut off when it is long, and goes on", async (t) => {
  const log = new DaemonLog(join(folder, "long.log"));
  const output = log.openToWrite();
  const line = `${"member is down".repeat(100)}\n`;
  while ((await log.length()) <= 4 * 1024 * 1024) {
    await log.trim();
    writeSync(output, line);
  }
  await log.trim();
  t.equal(await log.length(), 0);
  writeSync(output, "still here\n");
  t.equal(await log.since(0), "still here\n");
  closeSync(output);
});
