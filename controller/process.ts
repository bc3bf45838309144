/** Processes that outlive the controller, known by their number and when they started. */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile, stat, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import writeFileAtomic from "write-file-atomic";
import { signal, statOf } from "../agent/process.ts";

const MAX_LOG_BYTES = 10 * 1024 * 1024;

/** A process id alone may have passed to another process. */
interface ProcessName {
  readonly pid: number;
  /** clock ticks after boot (proc(5), /proc/pid/stat, field 22) */
  readonly started: string;
}

/** Somebody else holds what only one may; the message says who. */
export class TakenError extends Error {
  override readonly name = "TakenError";
}

/**
 * Marks a file as this process's own, until it ends or `rm`s the file.
 * @throws {TakenError} when a process that marked it still runs
 */
export async function claimFile(pidFile: string): Promise<void> {
  const holder = await runningPid(pidFile);
  if (holder !== null && holder !== process.pid) throw new TakenError(`process ${holder} uses ${pidFile}`);
  const started = await startTime(process.pid);
  await writeFileAtomic(pidFile, JSON.stringify({ pid: process.pid, started: started ?? "" } satisfies ProcessName));
}

/**
 * Starts a program that is to go on without us, and writes its name to `pidFile`.
 * @throws what keeps it from being started: code ENOENT when there is no such program
 */
export async function startDetached(
  pidFile: string,
  logFile: string,
  command: readonly [string, ...string[]],
): Promise<void> {
  const [file, ...args] = command;
  for (const path of [pidFile, logFile]) await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const log = openSync(logFile, "a", 0o600);
  // not execa: it ties a child to the life of its parent
  const child = spawn(file, args, { detached: true, stdio: ["ignore", log, log], cwd: "/" });
  closeSync(log);
  const failure = new Promise<Error>((resolve) => child.once("error", resolve));
  child.unref();
  if (child.pid === undefined) throw await failure;
  const started = await startTime(child.pid);
  if (started !== null)
    await writeFileAtomic(pidFile, JSON.stringify({ pid: child.pid, started } satisfies ProcessName));
}

/**
 * Takes up a process whose starter was killed before it could write its name down.
 * @param argument one that the process was started with, and no other process is
 */
export async function adopt(pidFile: string, argument: string): Promise<void> {
  if ((await runningPid(pidFile)) !== null) return;
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number)) {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (!command.split("\0").includes(argument)) continue;
    const started = await startTime(pid);
    if (started === null) continue;
    await mkdir(dirname(pidFile), { recursive: true, mode: 0o700 });
    await writeFileAtomic(pidFile, JSON.stringify({ pid, started } satisfies ProcessName));
    return;
  }
}

/** The process id in the file, if that very process still runs. */
export async function runningPid(pidFile: string): Promise<number | null> {
  const text = await readFile(pidFile, "utf8").catch(() => null);
  if (text === null) return null;
  const { pid, started } = JSON.parse(text) as ProcessName;
  return (await startTime(pid)) === started ? pid : null;
}

/** Asks the process to end, and after `patience` ms makes it. Returns when it is gone. */
export async function endProcess(pidFile: string, patience = 3000): Promise<void> {
  for (const [name, limit] of [
    ["SIGTERM", patience],
    ["SIGKILL", 5000],
  ] as const) {
    const pid = await runningPid(pidFile);
    if (pid === null) return;
    signal(pid, name);
    const deadline = Date.now() + limit;
    while (Date.now() < deadline && (await runningPid(pidFile)) !== null) await sleep(20);
  }
}

/** Empties a log that has grown too large; its writer appends, and goes on at the start. */
export async function boundLog(file: string): Promise<void> {
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size > MAX_LOG_BYTES) await truncate(file);
}

/** Null when there is no such process, or only its remains (a zombie). */
async function startTime(pid: number): Promise<string | null> {
  return (await statOf(pid))?.[19] ?? null;
}

/**
 * Resolves with the first SIGINT or SIGTERM. Later ones change nothing: a terminal and npm both pass on a Ctrl-C.
 * The listeners stay: a library that removes temporary files on signals ends the process when it is alone with one.
 */
export function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => resolve(signal));
  });
}
