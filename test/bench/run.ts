/** `npm run bench`: measures, and prints. Figures are for this machine; compare those of one run with each other. */
import { globSync } from "node:fs";
import { basename, join } from "node:path";
import { runEnclosed } from "../support/enclosure.ts";
import { takeTheMachine } from "../support/lock.ts";

const FOLDER = import.meta.dirname;
const wanted = process.argv.slice(2);
const all = globSync("*.bench.ts", { cwd: FOLDER }).sort();
const chosen = all.filter((file) => wanted.length === 0 || wanted.includes(basename(file, ".bench.ts")));
if (chosen.length === 0) throw new Error(`there is no such benchmark; there are: ${all.join(" ")}`);

const release = await takeTheMachine();
for (const file of chosen) {
  console.log(`\n${basename(file, ".bench.ts")}`);
  if ((await runEnclosed(join(FOLDER, file))) !== 0) process.exitCode = 1;
}
release();
