/** One at a time: a lock on a file that ends with the process that holds it, however that ends. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type FileHandle, open } from "node:fs/promises";

const CONFLICT = 75;

/** Someone else holds the lock. */
export class LockedError extends Error {
  override readonly name = "LockedError";
}

/**
 * Takes the lock (flock(2)), made when it is not there.
 * @param patience ms to wait for another holder
 * @returns what gives it back
 * @throws {LockedError} when it is still held after that
 */
export async function lock(file: string, patience: number): Promise<() => Promise<void>> {
  const handle = await open(file, "a");
  try {
    await take(handle, file, patience);
  } catch (error) {
    await handle.close();
    throw error;
  }
  return () => handle.close();
}

/** flock(1) locks the file that both processes have open; the lock stays when flock ends. */
async function take(handle: FileHandle, file: string, patience: number): Promise<void> {
  const wait = patience > 0 ? ["--timeout", String(Math.ceil(patience / 1000))] : ["--nonblock"];
  const child = spawn("flock", ["--exclusive", "--conflict-exit-code", String(CONFLICT), ...wait, "3"], {
    stdio: ["ignore", "ignore", "inherit", handle.fd],
    timeout: patience + 10_000,
  });
  const [code] = (await once(child, "close")) as [number | null];
  if (code === CONFLICT) throw new LockedError(`${file} is locked by another process`);
  if (code !== 0) throw new Error(`${file} can't be locked`);
}
