/** A folder with little room. */
import { mkdtemp, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { Scope } from "./scope.ts";

/** @param limit as an option of tmpfs (tmpfs(5)), such as size=40M */
export async function fullFolder(t: Scope, limit: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "amphora-full-"));
  await execa("mount", ["-t", "tmpfs", "-o", limit, "tmpfs", folder], { timeout: 10_000 });
  t.teardown(async () => {
    await execa("umount", [folder], { timeout: 10_000 });
    await rmdir(folder);
  });
  return folder;
}
