/** Figures of repeated measurements, printed alike everywhere. */
import { readdir, readFile, readlink } from "node:fs/promises";

/** @param times in ms */
export function print(what: string, times: readonly number[]): void {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
  console.log(
    `  ${what.padEnd(58)} p50 ${at(0.5).padStart(8)} ms   p99 ${at(0.99).padStart(8)} ms   n ${sorted.length}`,
  );
}

/** How long each of `rounds` calls took, ms. */
export async function measure(rounds: number, work: (round: number) => Promise<unknown> | unknown): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const started = performance.now();
    await work(i);
    times.push(performance.now() - started);
  }
  return times;
}

/** What each of `rounds` calls cost this process, CPU ms: steadier than the time it took on a busy machine. */
export function measureCpu(rounds: number, work: (round: number) => unknown): number[] {
  const costs: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const before = process.cpuUsage();
    work(i);
    const { user, system } = process.cpuUsage(before);
    costs.push((user + system) / 1000);
  }
  return costs;
}

/** @param times of the calls, ms @param elapsed of all together, ms @param cpu ms that they cost, all processes */
export function printRate(
  what: string,
  times: readonly number[],
  elapsed: number,
  cpu: number,
  inFlight: number,
  peer: string,
): void {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
  const rate = ((times.length / elapsed) * 1000).toFixed(times.length / elapsed < 0.1 ? 1 : 0);
  const figures = [
    `${rate.padStart(6)}/s`,
    `p50 ${at(0.5).padStart(6)} ms`,
    `p99 ${at(0.99).padStart(6)} ms`,
    `CPU ${(cpu / times.length).toFixed(2).padStart(7)} ms`,
    `in flight ${inFlight}`,
  ];
  console.log(`  ${what.padEnd(54)} ${figures.join("  ")}${peer === "" ? "" : `   (peer ${peer})`}`);
}

/** Clock ticks in a second (getconf CLK_TCK). */
const TICKS = 100;

/**
 * CPU time that a process, and all those of a name in this network, have used so far, ms; what those have started and
 * has ended is counted too.
 */
export async function cpuOf(pid: number, also: string | null): Promise<number> {
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const network = await readlink("/proc/self/ns/net");
  const used = await Promise.all(
    ids.map(async (id) => {
      const stat = await readFile(`/proc/${id}/stat`, "utf8").catch(() => "");
      const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
      if (Number(id) !== pid && name !== also) return 0;
      if ((await readlink(`/proc/${id}/ns/net`).catch(() => "")) !== network) return 0;
      // utime, stime, and the same of children that have been waited for: proc_pid_stat(5)
      const times = stat
        .slice(stat.lastIndexOf(")") + 2)
        .split(" ")
        .slice(11, name === also ? 15 : 13);
      return times.reduce((sum, each) => sum + Number(each), 0);
    }),
  );
  return (used.reduce((sum, each) => sum + each, 0) / TICKS) * 1000;
}
