/** What was asked of the API and answered: what must be there in the end, and what may. */

/** Of something whose request had no answer: what it was, and what it may have become. */
export class Unsure<T> {
  readonly either: readonly T[];

  constructor(...either: T[]) {
    this.either = either;
  }
}

export interface Known {
  readonly id: string;
  readonly vip: string;
  readonly pool: string;
  readonly isPair: boolean;
  name: string | Unsure<string>;
  /** address -> weight; absent or null: it is no member */
  readonly members: Map<string, number | null | Unsure<number | null>>;
  /** members' ids by address */
  readonly ids: Map<string, string>;
  /** ports of the TCP listeners beside the first one: whether there is one */
  readonly listeners: Map<number, boolean | Unsure<boolean>>;
  readonly listenerIds: Map<number, string>;
  /** when it was asked for (ms since 1970) */
  readonly failovers: number[];
}

/** Whether what is there is what the ledger says. */
export function agrees<T>(expected: T | Unsure<T>, found: T): boolean {
  return expected instanceof Unsure ? expected.either.includes(found) : expected === found;
}

export function shown(expected: unknown): string {
  return expected instanceof Unsure
    ? `one of ${expected.either.map((each) => JSON.stringify(each)).join(", ")}`
    : JSON.stringify(expected);
}
