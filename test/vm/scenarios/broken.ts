/** Ends as a scenario should not, in the way that it is asked to. */
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Inside } from "../../support/vm/inside.ts";

export default async ({ args, check }: Inside): Promise<void> => {
  if (args.how === "nothing") return;
  await check("this one is kept", () => undefined);
  await check("this one is broken", () => {
    throw new Error("as it was asked to be");
  });
  if (args.how === "throw") throw new Error("the scenario gave up");
  // proc(5): crashes the kernel at once
  if (args.how === "panic") await writeFile("/proc/sysrq-trigger", "c");
  if (args.how === "hang") await sleep(600_000);
};
