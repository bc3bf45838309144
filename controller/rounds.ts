/** Work that is done again and again: a round is left out while the one before it goes on. */
export class Rounds {
  readonly #interval: number;
  readonly #work: () => Promise<void>;
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> | null = null;

  /** @param interval ms between two beginnings @param work never throws */
  constructor(interval: number, work: () => Promise<void>) {
    this.#interval = interval;
    this.#work = work;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#round ??= this.#work().finally(() => {
        this.#round = null;
      });
    }, this.#interval);
  }

  /** Begins no more, and waits for the round that is under way. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    await this.#round;
  }
}
