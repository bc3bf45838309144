/** What a daemon prints goes to a file: its last words tell why it failed. */
import { openSync } from "node:fs";
import { open, stat, truncate } from "node:fs/promises";

/** It lies in memory: what is longer is cut off (bytes). */
const MAX_LOG = 4 * 1024 * 1024;

export class DaemonLog {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  /** For the daemon's output: it is appended, whoever cuts the file off meanwhile. @returns a file descriptor to close */
  openToWrite(): number {
    return openSync(this.#file, "a", 0o600);
  }

  /** In bytes. */
  async length(): Promise<number> {
    return (await stat(this.#file).catch(() => null))?.size ?? 0;
  }

  /** What has been said since the log had that length. */
  async since(offset: number): Promise<string> {
    const handle = await open(this.#file).catch(() => null);
    if (handle === null) return "";
    try {
      const buffer = Buffer.alloc(Math.max(0, (await handle.stat()).size - offset));
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, offset);
      return buffer.subarray(0, bytesRead).toString("utf8");
    } finally {
      await handle.close();
    }
  }

  /** Keeps it from growing without end. */
  async trim(): Promise<void> {
    if ((await this.length()) > MAX_LOG) await truncate(this.#file);
  }
}
