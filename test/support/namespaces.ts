/** Network namespaces for tests: made, and removed with everything that runs in them. */
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";

let made = 0;

/** A namespace with nothing but its loopback, up. */
export async function makeNamespace(): Promise<string> {
  const name = `amphora-test-${process.pid}-${++made}`;
  await execa("ip", ["netns", "add", name]);
  await execa("ip", ["-n", name, "link", "set", "lo", "up"]);
  return name;
}

/** Kills what runs in the namespace, and removes it. */
export async function dropNamespace(name: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const pids = (await processesIn(name)).filter((pid) => pid !== process.pid);
    if (pids.length === 0) break;
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // it ended by itself
      }
    }
    await sleep(20);
  }
  await execa("ip", ["netns", "delete", name], { reject: false });
}

export async function processesIn(name: string): Promise<number[]> {
  const { stdout } = await execa("ip", ["netns", "pids", name], { reject: false });
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map(Number);
}
