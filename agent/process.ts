/** Processes by their number alone. */
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

/**
 * What the kernel tells of a process: the fields of /proc/pid/stat from the third on (proc(5)).
 * @returns null when there is no such process, or only its remains (a zombie)
 */
export async function statOf(pid: number): Promise<string[] | null> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  if (stat === null) return null;
  // the second field is the name in parentheses, and may hold anything
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ["Z", "X"].includes(fields[0] ?? "") ? null : fields;
}

/** Whether a process has ended; its remains may still be there. */
export async function hasEnded(pid: number): Promise<boolean> {
  return (await statOf(pid)) === null;
}
