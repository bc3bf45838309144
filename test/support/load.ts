/** Load on a URL, and what became of every request. */
import { type ChildProcess, spawn } from "node:child_process";

export interface LoadResult {
  readonly requests: number;
  /** requests that were not answered with 2xx or 3xx, and connections that broke */
  readonly failed: number;
  readonly output: string;
}

/** wrk, with an answer that counts failures whole. */
export class Load {
  readonly #child: ChildProcess;
  #output = "";
  readonly #ended: Promise<void>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on("data", (chunk: Buffer) => {
      this.#output += chunk.toString();
    });
    this.#ended = new Promise((resolve) => child.on("close", () => resolve()));
  }

  /** @param seconds how long, at most */
  static start(url: string, seconds: number, connections = 20): Load {
    const args = ["-t", "1", "-c", String(connections), "-d", `${seconds}s`, "--timeout", "5s", url];
    return new Load(spawn("wrk", args, { stdio: ["ignore", "pipe", "inherit"] }));
  }

  /** Ends the load now, and counts. */
  async stop(): Promise<LoadResult> {
    this.#child.kill("SIGINT");
    return this.result();
  }

  async result(): Promise<LoadResult> {
    await this.#ended;
    const number = (pattern: RegExp) => Number(pattern.exec(this.#output)?.[1] ?? 0);
    const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(this.#output);
    const broken = (sockets ?? []).slice(1).reduce((sum, each) => sum + Number(each), 0);
    return {
      requests: number(/(\d+) requests in/),
      failed: broken + number(/Non-2xx or 3xx responses: (\d+)/),
      output: this.#output,
    };
  }
}
