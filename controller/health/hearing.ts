/**
 * What silence is told by: a clock that stands still while this process does, and whether heartbeats were lost on this
 * machine. So a controller that is overloaded, or was stopped, takes no amphora for silent because of that.
 */

/** How often it is looked whether the process runs as it should (ms). */
const TICK = 250;

/** Of those that came, so many may be lost (0 to 1) without anybody seeming silent because of it: it takes several. */
const LOSS = 0.05;

export interface Arrivals {
  /** heartbeats read since the start */
  readonly read: number;
  /** those that the kernel had no room for */
  readonly lost: number;
}

export class Hearing {
  readonly #arrivals: () => Promise<Arrivals>;
  #timer: NodeJS.Timeout | null = null;
  #tickedAt = performance.now();
  #before: Arrivals = { read: 0, lost: 0 };
  /** ms during which the process stood still, since the start */
  #deaf = 0;
  /** when too many were last lost, on this clock */
  #lossAt = 0;

  constructor(arrivals: () => Promise<Arrivals>) {
    this.#arrivals = arrivals;
  }

  start(): void {
    this.#tickedAt = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** ms since 1970, less those during which this process stood still. */
  now(): number {
    return Date.now() - this.#deaf;
  }

  /** Finds out whether too many were lost since the last check. @returns whether silence of that long (ms) means anything */
  async check(duration: number): Promise<boolean> {
    // this may be the first thing to run after a standstill
    this.#tick();
    const { read, lost } = await this.#arrivals();
    const missed = lost - this.#before.lost;
    if (missed > 0 && missed > LOSS * (missed + read - this.#before.read)) this.#lossAt = this.now();
    this.#before = { read, lost };
    return this.now() - this.#lossAt >= duration;
  }

  #tick(): void {
    const now = performance.now();
    const late = now - this.#tickedAt - TICK;
    this.#tickedAt = now;
    // a turn may be a little late
    if (late >= TICK) this.#deaf += late;
  }
}
