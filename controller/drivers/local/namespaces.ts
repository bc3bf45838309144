/** Network namespaces of this host. */
import { readdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { signal } from "../../../agent/process.ts";
import { run } from "./command.ts";

const FOLDER = "/run/netns";

/** Names of those that begin so. */
export async function namespaces(prefix: string): Promise<string[]> {
  const names = await readdir(FOLDER).catch(() => []);
  return names.filter((name) => name.startsWith(prefix));
}

/** Ends every process in the namespace and removes it. Nothing happens when there is none. */
export async function removeNamespace(name: string): Promise<void> {
  for (let tries = 0; (await namespaces(name)).includes(name); tries++) {
    const pids = (await run("ip", ["netns", "pids", name])).split("\n").filter((line) => line !== "");
    if (pids.length === 0 || tries > 50) {
      await unplugAll(name);
      return void (await run("ip", ["netns", "delete", name]));
    }
    // asked first: HAProxy's master takes its workers along
    for (const pid of pids) signal(Number(pid), tries < 10 ? "SIGTERM" : "SIGKILL");
    await sleep(20);
  }
}

/**
 * Removes the namespace's cables. Connections whose process was killed keep a namespace alive for minutes after its name
 * is gone, and it would go on answering for addresses that others have by then.
 */
async function unplugAll(name: string): Promise<void> {
  const lines = (await run("ip", ["-n", name, "-br", "link", "show", "type", "veth"])).split("\n");
  for (const line of lines) {
    const [link = ""] = line.split(/[@ ]/);
    if (link !== "") await run("ip", ["-n", name, "link", "delete", link]);
  }
}
