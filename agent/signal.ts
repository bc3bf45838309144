/** Processes by their number alone: those that were there a moment ago. */
import { readFile } from "node:fs/promises";

/** Sends a signal to a process. @returns false when there is no such process any more */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/** Whether a process has ended; its remains may still be there (proc(5), /proc/pid/stat, field 3). */
export async function hasEnded(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  // the second field is the name in parentheses, and may hold anything
  return stat === null || /^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2));
}
