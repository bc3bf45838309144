/** Whether datagrams are read as fast as they come, and which need not be read when they are not. */

/** Node reads so many from a socket at a time, before anything else gets its turn; fewer, or none: it was empty. */
const READ_AT_ONCE = 32;
/** Each ms behind makes so many ms count as recent: what waits is dropped long before the kernel has to drop anything. */
const STEEPNESS = 10;

export class Backlog {
  readonly #mostRecent: number;
  #reads = 0;
  #behindSince: number | null = null;

  /** @param mostRecent ms: who has been silent for longer is listened to, whatever waits */
  constructor(mostRecent: number) {
    this.#mostRecent = Math.max(0, mostRecent);
  }

  /** One was read. @returns whether `turnEnded` is to be called when this turn has ended, and nobody does so anyway */
  read(): boolean {
    return ++this.#reads === 1 && this.#behindSince === null;
  }

  /** @returns whether it is to be called after the next turn, too: one that reads nothing tells that nothing waits */
  turnEnded(now: number): boolean {
    if (this.#reads < READ_AT_ONCE) this.#behindSince = null;
    else this.#behindSince ??= now;
    this.#reads = 0;
    return this.#behindSince !== null;
  }

  /**
   * Who was heard so lately (ms) need not be heard now. It grows while datagrams wait, so that those go first that tell
   * the least, and ends with the last one that waits.
   */
  recent(now: number): number {
    if (this.#behindSince === null) return 0;
    return Math.min(this.#mostRecent, (now - this.#behindSince) * STEEPNESS);
  }
}
