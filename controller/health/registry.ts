/** What is known, in memory, of the amphorae that speak. */
import type { HealthReport } from "../../agent/protocol.ts";

export interface Seen {
  readonly amphoraId: string;
  /** null until its row has been read */
  loadBalancerId: string | null;
  /** when it last spoke, or was heard of otherwise (ms, by the registry's clock) */
  at: number;
  /** the digest that it last named, and the one of the report that is here */
  wanted: string;
  digest: string;
  report: HealthReport | null;
  fetching: boolean;
  /** what it last said of each listener, to pass over what did not change */
  counters: ReadonlyMap<string, string>;
  /** when its counters were last asked for */
  countedAt: number;
  /** whether it has ever spoken to this controller */
  spoke: boolean;
  /** for how many rounds its silence has been on record */
  rounds: number;
  /** whether its silence is certain: no controller hears it */
  silent: boolean;
  /** whether what that means has been written down */
  silenceTold: boolean;
}

export class Registry {
  readonly #seen = new Map<string, Seen>();
  readonly #now: () => number;

  /** @param now ms; may stand still while amphorae can't be heard */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get size(): number {
    return this.#seen.size;
  }

  /** One that is there, and should be heard of from now on. */
  expect(amphoraId: string, loadBalancerId: string): void {
    if (this.#seen.has(amphoraId)) return;
    this.#seen.set(amphoraId, { ...unseen(amphoraId, this.#now()), loadBalancerId });
  }

  /** One that has just spoken, or of which another way is known that it lives. */
  heard(amphoraId: string): Seen {
    const seen = this.#seen.get(amphoraId) ?? unseen(amphoraId, this.#now());
    this.#seen.set(amphoraId, seen);
    seen.at = this.#now();
    seen.rounds = 0;
    seen.silent = false;
    return seen;
  }

  forget(amphoraId: string): void {
    this.#seen.delete(amphoraId);
  }

  get(amphoraId: string): Seen | undefined {
    return this.#seen.get(amphoraId);
  }

  /** Those that no controller hears. */
  silent(): Seen[] {
    return [...this.#seen.values()].filter(({ silent }) => silent);
  }

  /** Those that have not been heard of for so long (ms), the longest first. */
  silentFor(duration: number): Seen[] {
    const since = this.#now() - duration;
    return [...this.#seen.values()].filter(({ at }) => at <= since).sort((a, b) => a.at - b.at);
  }

  /** For how long (ms) one has not been heard of. */
  silenceOf({ at }: Seen): number {
    return this.#now() - at;
  }
}

function unseen(amphoraId: string, at: number): Seen {
  return {
    amphoraId,
    loadBalancerId: null,
    at,
    wanted: "",
    digest: "",
    report: null,
    fetching: false,
    counters: new Map(),
    countedAt: 0,
    spoke: false,
    rounds: 0,
    silent: false,
    silenceTold: false,
  };
}
