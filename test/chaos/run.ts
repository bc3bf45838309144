/** `npm run chaos`: for CHAOS_SECONDS (300), CHAOS_LOAD_BALANCERS (30), CHAOS_PAIRS (a third of them), CHAOS_SEED. */
import { join } from "node:path";
import { runEnclosed } from "../support/enclosure.ts";
import { takeTheMachine } from "../support/lock.ts";

const release = await takeTheMachine();
process.exitCode = await runEnclosed(join(import.meta.dirname, "inside.ts"));
release();
