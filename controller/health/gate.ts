/** Lets so much work through at a time, and other things have their turn in between. */
import { setImmediate } from "node:timers/promises";

export class Gate {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  #inside = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Does it when its turn comes. @throws what it throws */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#inside < this.#limit) this.#inside++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      // SQLite answers at once: without this, what waits here would run to its end before a datagram is read
      await setImmediate();
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // the place goes from one to the next
      if (next === undefined) this.#inside--;
      else next();
    }
  }
}
