/** What must end with the process that began it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { lock } from "../../images/lock.ts";
import { eventually, productEnv } from "../support/agent.ts";

const IMAGES = join(import.meta.dirname, "../../images");

function run(script: string) {
  return spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
    env: productEnv(),
  });
}

t.test("a machine ends with the process that started it, even when that is killed", async (t) => {
  const parent = run(`
    import { startMachine } from "${IMAGES}/qemu.ts";
    console.log(startMachine(["sleep", "600"]).pid);
    setInterval(() => undefined, 1000);
  `);
  const [pid] = await once(parent.stdout, "data");
  const machine = Number(String(pid));
  const name = async () => (await readFile(`/proc/${machine}/comm`, "utf8")).trim();
  t.ok(await eventually("it runs", async () => (await name()) === "sleep"));
  parent.kill("SIGKILL");
  await eventually("the machine ends", async () => !alive(machine));
});

t.test("a lock is one process's, and free again when that is killed", async (t) => {
  const file = join(t.testdir(), "lock");
  const holder = run(`
    import { lock } from "${IMAGES}/lock.ts";
    await lock(${JSON.stringify(file)}, 0);
    console.log("held");
    setInterval(() => undefined, 1000);
  `);
  await once(holder.stdout, "data");
  await t.rejects(lock(file, 0), { name: "LockedError" });
  const waiting = lock(file, 20_000);
  holder.kill("SIGKILL");
  const release = await waiting;
  await t.rejects(lock(file, 0), { name: "LockedError" });
  await release();
  await (await lock(file, 0))();
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
