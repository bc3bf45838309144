/** Whether test machines run under KVM: found out once per start of this host, and remembered. */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { z } from "zod";
import { ownArchitecture } from "../../../images/architectures.ts";
import { type Accelerator, chooseAccelerator } from "../../../images/qemu.ts";
import { CACHE } from "./base.ts";

const remembered = z.object({ boot: z.string(), kernel: z.string(), accelerator: z.enum(["kvm", "tcg"]) });

export async function accelerator(kernel: string): Promise<Accelerator> {
  const file = join(CACHE, "accelerator.json");
  const boot = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  const known = remembered.safeParse(JSON.parse(await readFile(file, "utf8").catch(() => "null")));
  if (known.success && known.data.boot === boot && known.data.kernel === kernel) return known.data.accelerator;
  const chosen = await chooseAccelerator(ownArchitecture(), kernel);
  await mkdir(CACHE, { recursive: true });
  await writeFileAtomic(file, JSON.stringify({ boot, kernel, accelerator: chosen }));
  return chosen;
}
