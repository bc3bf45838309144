/** What a scenario has: it runs inside a test machine, as root, and every check of it becomes a test on the host. */
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import type { Report } from "./messages.ts";

/** A check that takes longer hangs, also on a busy host (ms). */
const CHECK_LIMIT = 300_000;

/** The default export of a scenario's module. */
export type Scenario = (vm: Inside) => Promise<void>;

export class Inside {
  /** What the test gave to this machine. */
  readonly args: Readonly<Record<string, string>>;
  readonly #send: (report: Report) => void;
  readonly #cleanups: (() => unknown)[] = [];
  readonly #heard = new Set<string>();

  constructor(args: Readonly<Record<string, string>>, send: (report: Report) => void) {
    this.args = args;
    this.#send = send;
  }

  /**
   * One promise kept, or broken when `work` throws; the scenario goes on in both cases.
   * @returns what `work` returned, or undefined when it threw
   */
  check = async <T>(name: string, work: () => Promise<T> | T, limit = CHECK_LIMIT): Promise<T | undefined> => {
    const started = performance.now();
    const tell = (ok: boolean, detail: string) =>
      this.#send({ kind: "check", name, ok, detail, ms: Math.round(performance.now() - started) });
    const deadline = new AbortController();
    try {
      const late = sleep(limit, undefined, { signal: deadline.signal }).then(() => {
        throw new Error(`not within ${limit} ms`);
      });
      late.catch(() => undefined);
      const value = await Promise.race([work(), late]);
      tell(true, "");
      return value;
    } catch (error) {
      tell(false, inspect(error));
      return undefined;
    } finally {
      deadline.abort();
    }
  };

  /** Says something to the person who reads the test's output. */
  note = (text: string): void => this.#send({ kind: "note", text });

  /** Says a word to the test on the host, which waits for it with `says`. */
  say = (word: string): void => this.#send({ kind: "word", word });

  /** Waits until the test on the host has said a word, with `tell`. */
  hears = (word: string, limit = CHECK_LIMIT): Promise<void> =>
    until(`the host says ${word}`, () => this.#heard.has(word), limit);

  /** Done when the scenario ends, last things first. */
  teardown = (cleanup: () => unknown): void => {
    this.#cleanups.push(cleanup);
  };

  hear(word: string): void {
    this.#heard.add(word);
  }

  async cleanUp(): Promise<void> {
    for (const cleanup of this.#cleanups.reverse()) await cleanup();
  }
}

/** Polls until something is so. @throws after `limit` ms, saying what did not happen */
export async function until(what: string, look: () => Promise<boolean> | boolean, limit = 60_000): Promise<void> {
  const deadline = Date.now() + limit;
  while (!(await look())) {
    if (Date.now() > deadline) throw new Error(`not within ${limit} ms: ${what}`);
    await sleep(50);
  }
}
