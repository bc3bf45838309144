/**
 * `npm run chaos`: for CHAOS_SECONDS (300), CHAOS_LOAD_BALANCERS (30), CHAOS_PAIRS (a third of them), CHAOS_SEED.
 * `npm run chaos -- silence`: see silence.ts.
 */
import { join } from "node:path";
import { runEnclosed } from "../support/enclosure.ts";
import { takeTheMachine } from "../support/lock.ts";

const PROGRAMS: Readonly<Record<string, string>> = { troubles: "inside.ts", silence: "silence.ts" };
const wanted = process.argv[2] ?? "troubles";
const program = PROGRAMS[wanted];
if (program === undefined) throw new Error(`there is no ${wanted}; there are: ${Object.keys(PROGRAMS).join(" ")}`);

const release = await takeTheMachine();
process.exitCode = await runEnclosed(join(import.meta.dirname, program));
release();
