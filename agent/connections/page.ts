/** The first connections after a cursor, in the order of their ids, of any number that come in any order. */
import type { Connection } from "./protocol.ts";

export class Page {
  readonly #limit: number;
  readonly #after: string | null;
  /** sorted; one more than the limit, which tells that there are more */
  readonly #kept: Connection[] = [];

  constructor(limit: number, after: string | null) {
    this.#limit = limit;
    this.#after = after;
  }

  /** Takes in what may belong to the page. Of two with the same id the later one counts. */
  add(batch: readonly Connection[]): void {
    for (const one of batch) {
      if (this.#after !== null && one.id <= this.#after) continue;
      const last = this.#kept.at(-1);
      if (this.#kept.length > this.#limit && last !== undefined && one.id > last.id) continue;
      const at = this.#placeOf(one.id);
      this.#kept.splice(at, this.#kept[at]?.id === one.id ? 1 : 0, one);
      if (this.#kept.length > this.#limit + 1) this.#kept.pop();
    }
  }

  get connections(): readonly Connection[] {
    return this.#kept.slice(0, this.#limit);
  }

  /** The cursor of the next page, null after the last one. */
  get next(): string | null {
    return this.#kept.length > this.#limit ? (this.#kept[this.#limit - 1]?.id ?? null) : null;
  }

  /** Where an id stands or would stand. */
  #placeOf(id: string): number {
    let [from, to] = [0, this.#kept.length];
    while (from < to) {
      const middle = (from + to) >>> 1;
      if ((this.#kept[middle]?.id ?? "") < id) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}
