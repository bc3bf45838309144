/** The keys of amphorae that speak, read from the store many at a time. */
import { createSecretKey, type KeyObject } from "node:crypto";

/** How long it is believed that there is no such amphora, before the store is asked again (ms). */
const UNKNOWN_FOR = 2000;
const MOST_UNKNOWN = 10_000;
/** So many are asked for with one query, and one query at a time: who makes up amphorae can't keep the store busy. */
const ASKED_AT_ONCE = 1000;

/** The keys of those that there are. */
export type KeysOf = (amphoraIds: readonly string[]) => Promise<ReadonlyMap<string, Buffer>>;

/** An amphora that may speak. */
export interface Known {
  readonly key: KeyObject;
  /** of the last heartbeat believed */
  sequence: bigint;
  /** when that was (ms on the monotonic clock) */
  heardAt: number;
}

type Told = (known: Known | null) => void;

export class Keys {
  readonly #keysOf: KeysOf;
  readonly #onError: (error: unknown) => void;
  readonly #known = new Map<string, Known>();
  /** when the store last said that there is no such amphora */
  readonly #unknown = new Map<string, number>();
  #wanted = new Map<string, Told[]>();
  #asking = false;

  /** @param onError called when the store can't be asked; who waited for its answer is told nothing */
  constructor(keysOf: KeysOf, onError: (error: unknown) => void) {
    this.#keysOf = keysOf;
    this.#onError = onError;
  }

  get(amphoraId: string): Known | undefined {
    return this.#known.get(amphoraId);
  }

  forget(amphoraId: string): void {
    this.#known.delete(amphoraId);
  }

  /** Whether the store said a moment ago that there is no such amphora. */
  isUnknown(amphoraId: string): boolean {
    const askedAt = this.#unknown.get(amphoraId);
    return askedAt !== undefined && performance.now() - askedAt < UNKNOWN_FOR;
  }

  /** Asks the store. Those who ask for the same one are told in the order of asking. */
  learn(amphoraId: string, told: Told): void {
    const waiting = this.#wanted.get(amphoraId);
    if (waiting === undefined) this.#wanted.set(amphoraId, [told]);
    else waiting.push(told);
    if (this.#asking) return;
    this.#asking = true;
    // with all others that are read in this turn
    setImmediate(() => void this.#ask());
  }

  async #ask(): Promise<void> {
    while (this.#wanted.size > 0) {
      const asked = [...this.#wanted].slice(0, ASKED_AT_ONCE);
      for (const [id] of asked) this.#wanted.delete(id);
      try {
        const keys = await this.#keysOf(asked.map(([id]) => id));
        for (const [id, waiting] of asked) {
          const known = this.#note(id, keys.get(id));
          for (const told of waiting) told(known);
        }
      } catch (error) {
        this.#onError(error);
        for (const told of asked.flatMap(([, waiting]) => waiting)) told(null);
      }
    }
    this.#asking = false;
  }

  #note(amphoraId: string, key: Buffer | undefined): Known | null {
    if (key !== undefined) {
      const known = this.#known.get(amphoraId) ?? {
        key: createSecretKey(key),
        sequence: 0n,
        heardAt: Number.NEGATIVE_INFINITY,
      };
      this.#known.set(amphoraId, known);
      this.#unknown.delete(amphoraId);
      return known;
    }
    if (this.#unknown.size >= MOST_UNKNOWN) this.#unknown.clear();
    this.#unknown.set(amphoraId, performance.now());
    return null;
  }
}
