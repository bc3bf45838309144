/** `npm run chaos`: for CHAOS_SECONDS (300), CHAOS_LOAD_BALANCERS (30), CHAOS_PAIRS (a third of them), CHAOS_SEED. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { takeTheMachine } from "../support/lock.ts";
import { dropNamespace, makeNamespace } from "../support/namespaces.ts";

const release = await takeTheMachine();
const namespace = await makeNamespace();
try {
  const args = [`--net=/run/netns/${namespace}`, "--", process.execPath, join(import.meta.dirname, "inside.ts")];
  const child = spawn("nsenter", args, { stdio: "inherit" });
  process.exitCode = (await new Promise<number | null>((resolve) => child.on("close", resolve))) ?? 1;
} finally {
  await dropNamespace(namespace);
  release();
}
