/** `npm run bench`: measures, and prints. Figures are for this machine; compare those of one run with each other. */
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { basename, join } from "node:path";
import { takeTheMachine } from "../support/lock.ts";
import { dropNamespace, makeNamespace } from "../support/namespaces.ts";

const FOLDER = import.meta.dirname;
const wanted = process.argv.slice(2);
const all = globSync("*.bench.ts", { cwd: FOLDER }).sort();
const chosen = all.filter((file) => wanted.length === 0 || wanted.includes(basename(file, ".bench.ts")));
if (chosen.length === 0) throw new Error(`there is no such benchmark; there are: ${all.join(" ")}`);

const release = await takeTheMachine();
for (const file of chosen) {
  console.log(`\n${basename(file, ".bench.ts")}`);
  const namespace = await makeNamespace();
  try {
    const args = [`--net=/run/netns/${namespace}`, "--", process.execPath, join(FOLDER, file)];
    const child = spawn("nsenter", args, { stdio: "inherit" });
    const code = await new Promise((resolve) => child.on("close", resolve));
    if (code !== 0) process.exitCode = 1;
  } finally {
    await dropNamespace(namespace);
  }
}
release();
