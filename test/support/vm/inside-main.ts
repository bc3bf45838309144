/**
 * Runs a scenario inside a test machine, and reports to the host as it goes. The host's words come on standard input;
 * reports go to file descriptor 3. Standard output and error are the machine's console.
 */
import { writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { inspect } from "node:util";
import { Inside, type Scenario } from "./inside.ts";
import { type Order, type Report, TASK_FILE, type Task } from "./messages.ts";

const PROJECT = join(import.meta.dirname, "../../..");
const REPORTS = 3;

const send = (report: Report): void => {
  writeSync(REPORTS, `${JSON.stringify(report)}\n`);
};
const { scenario, args } = JSON.parse(await readFile(join("/", TASK_FILE), "utf8")) as Task;
const inside = new Inside(args, send);
createInterface({ input: process.stdin }).on("line", (line) => {
  inside.hear((JSON.parse(line) as Order).word);
});

let failure: string | null = null;
try {
  send({ kind: "start", uptime: Number((await readFile("/proc/uptime", "utf8")).split(" ")[0]) });
  const module = (await import(join(PROJECT, scenario))) as { default: Scenario };
  await module.default(inside);
} catch (error) {
  failure = inspect(error);
}
await inside.cleanUp().catch((error: unknown) => {
  failure ??= `cleaning up: ${inspect(error)}`;
});
send({ kind: "end", failure });
process.exit(failure === null ? 0 : 1);
