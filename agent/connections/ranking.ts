/** The first few of any number of connections, by whatever counts: memory stays that of those few. */
import type { Connection } from "./protocol.ts";

export interface Ranked {
  readonly one: Connection;
  /** higher comes first */
  readonly score: number;
}

export class Ranking {
  readonly #size: number;
  readonly #best: Ranked[] = [];
  /** how many there were in all */
  count = 0;

  constructor(size: number) {
    this.#size = size;
  }

  add(one: Connection, score: number): void {
    this.count++;
    const worst = this.#best.at(-1);
    if (this.#best.length >= this.#size && worst !== undefined && !isBefore({ one, score }, worst)) return;
    let [from, to] = [0, this.#best.length];
    while (from < to) {
      const middle = (from + to) >>> 1;
      const there = this.#best[middle];
      if (there !== undefined && isBefore(there, { one, score })) from = middle + 1;
      else to = middle;
    }
    this.#best.splice(from, 0, { one, score });
    if (this.#best.length > this.#size) this.#best.pop();
  }

  get best(): readonly Ranked[] {
    return this.#best;
  }
}

/** Of equals the one with the lower id comes first, so that a table that refreshes does not jump. */
function isBefore(a: Ranked, b: Ranked): boolean {
  return a.score !== b.score ? a.score > b.score : a.one.id < b.one.id;
}

/** The newest first. */
export function newness({ start_time }: Connection): number {
  return start_time === null ? 0 : Date.parse(`${start_time.replace(" ", "T")}Z`);
}

/** Bytes that connections are remembered by, at most: some 60 bytes each. */
const MAX_REMEMBERED = 200_000;

/** Bytes per second of each connection since the look before; since it began when it was not seen then. */
export class Rates {
  #before = new Map<string, number>();
  #now = new Map<string, number>();
  #lookedAt = 0;
  #looksAt = 0;

  /** A new look at all connections begins. @param time ms since 1970 */
  begin(time: number): void {
    this.#before = this.#now;
    this.#now = new Map();
    this.#lookedAt = this.#looksAt;
    this.#looksAt = time;
  }

  of(one: Connection): number {
    const bytes = one.bytes_in + one.bytes_out;
    if (this.#now.size < MAX_REMEMBERED) this.#now.set(one.id, bytes);
    const before = this.#before.get(one.id);
    const since = before === undefined ? newness(one) || this.#looksAt : this.#lookedAt;
    const seconds = Math.max(1, (this.#looksAt - since) / 1000);
    return Math.max(0, bytes - (before ?? 0)) / seconds;
  }
}
