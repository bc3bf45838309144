/** Where a command writes: a terminal that it refreshes and leaves as it found it, or a pipe. */
import { once } from "node:events";

/** Another screen, which is gone with the command; no cursor. */
const ENTER = "\u001b[?1049h\u001b[?25l";
const LEAVE = "\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const TO_END_OF_LINE = "\u001b[K";
const TO_END = "\u001b[J";
/** q, and in raw mode Ctrl-C and Ctrl-D are keys, too. */
const QUIT = ["q", "Q", "\u0003", "\u0004"];
/** Lines of a screen that are not rows of the table. */
const HEAD_LINES = 3;
/** Serial consoles do not tell their size: it is 0 then. */
const USUAL = { rows: 24, columns: 80 };

export class Screen {
  readonly #terminal: boolean;
  readonly #end = new AbortController();
  readonly #onSignal = () => this.#end.abort();
  readonly #onKey = (key: Buffer) => {
    if (QUIT.some((each) => key.includes(each))) this.#end.abort();
  };

  /** @param refreshes the command goes on until it is told to end */
  constructor(refreshes: boolean) {
    this.#terminal = refreshes && process.stdout.isTTY === true;
    // whoever reads has seen enough
    process.stdout.on("error", () => this.#end.abort());
    if (!refreshes) return;
    process.on("SIGINT", this.#onSignal);
    process.on("SIGTERM", this.#onSignal);
    if (!this.#terminal) return;
    process.stdout.write(ENTER);
    if (process.stdin.isTTY) process.stdin.setRawMode(true);
    process.stdin.on("data", this.#onKey);
  }

  /** Aborted when the command is to end. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  get over(): boolean {
    return this.#end.signal.aborted;
  }

  /** How many rows of a table fit; null when it is no terminal. */
  get rows(): number | null {
    return this.#terminal ? Math.max(1, (process.stdout.rows || USUAL.rows) - HEAD_LINES) : null;
  }

  /** Writes as fast as it is read. */
  async write(text: string): Promise<void> {
    if (this.over || process.stdout.write(text)) return;
    await once(process.stdout, "drain", { signal: this.signal }).catch(() => undefined);
  }

  /** Shows lines instead of those before; in a pipe, after them. */
  async show(lines: readonly string[]): Promise<void> {
    if (!this.#terminal) return this.write(`${lines.join("\n")}\n`);
    const width = process.stdout.columns || USUAL.columns;
    const cut = lines.map((line) => `${line.slice(0, width)}${TO_END_OF_LINE}`);
    await this.write(`${HOME}${cut.join("\n")}\n${TO_END}`);
  }

  complain(problems: readonly string[]): void {
    for (const each of problems) process.stderr.write(`not read: ${each}\n`);
  }

  close(): void {
    process.off("SIGINT", this.#onSignal);
    process.off("SIGTERM", this.#onSignal);
    if (!this.#terminal) return;
    process.stdout.write(LEAVE);
    process.stdin.off("data", this.#onKey);
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
    process.stdin.pause();
  }
}
