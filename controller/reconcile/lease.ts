/** A lease while it is held: renewed in time, and given up when it can't be. */
import type { Logger } from "pino";
import type { Store } from "../store/database.ts";
import { LEASE, renew } from "../store/leases.ts";

/** Another may take the lease as soon as it has run out: this one stops a moment before (ms). */
const MARGIN = 1000;

export class Lease {
  readonly #abort = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #renew: () => Promise<boolean>;
  readonly #log: Logger;
  /** on the clock that nobody sets, and that goes on while the process is stopped */
  #until: number;

  /** @param since `performance.now()` before the lease was asked for */
  constructor(store: Store, owner: string, loadBalancerId: string, since: number, log: Logger) {
    this.#until = since + LEASE - MARGIN;
    this.#renew = () => renew(store, owner, loadBalancerId);
    this.#log = log.child({ loadbalancer: loadBalancerId });
    this.#timer = setInterval(() => void this.#prolong(), LEASE / 3);
  }

  /** Aborted when the lease is lost, or `abandon`ed. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * To be called before anything that another's work might be harmed by.
   * @throws the reason, when the lease is not held any more: a process that was stopped finds that out here
   */
  check(): void {
    if (performance.now() > this.#until) this.abandon("the lease ran out");
    this.signal.throwIfAborted();
  }

  /** Stops what is under way, at its next step. */
  abandon(reason: string): void {
    this.#abort.abort(new Error(reason));
  }

  /** Renews no more. */
  end(): void {
    clearInterval(this.#timer);
  }

  async #prolong(): Promise<void> {
    const since = performance.now();
    try {
      if (await this.#renew()) this.#until = since + LEASE - MARGIN;
      else this.abandon("the lease was lost");
    } catch (error) {
      this.#log.warn({ err: error }, "renewing a lease failed");
      if (performance.now() > this.#until) this.abandon("the lease ran out");
    }
  }
}
