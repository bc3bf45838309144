/** Where nothing is driven: says of every change at once that it has been carried out. */
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import type { NetworkDriver } from "../drivers/network.ts";
import type { LoadBalancer } from "../model/load-balancer.ts";
import type { Store } from "../store/database.ts";
import { claim, giveBack, workLeft } from "../store/leases.ts";
import { forget, settle } from "../store/load-balancers.ts";
import type { Settling } from "../store/settling.ts";

/** Another process may have put the work there: looked for at least so often (ms). */
const POLL = 1000;
const MOST_AT_ONCE = 100;
/** One after another is slower than the API takes changes: with a hundred of them waiting the last waits for seconds. */
const SIDE_BY_SIDE = 4;

export interface AcknowledgerOptions {
  readonly store: Store;
  readonly network: NetworkDriver;
  readonly settling: Settling;
  readonly log: Logger;
}

export class Acknowledger {
  readonly #options: AcknowledgerOptions;
  readonly #owner = randomUUID();
  #round: Promise<void> = Promise.resolve();
  #waiting = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: AcknowledgerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#options.settling.onWork(() => void this.acknowledge());
    this.#timer = setInterval(() => void this.acknowledge(), POLL);
    void this.acknowledge();
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    await this.#round;
    await giveBack(this.#options.store, this.#owner);
  }

  /** Acknowledges what is due; returns when that is done. Calls while a round waits to begin share it. Never throws. */
  acknowledge(): Promise<void> {
    if (this.#waiting) return this.#round;
    this.#waiting = true;
    this.#round = this.#round.then(async () => {
      this.#waiting = false;
      await this.#all().catch(async (error: unknown) => {
        this.#options.log.error({ err: error }, "acknowledging changes failed");
        // else nobody would look at them before the leases end
        await giveBack(this.#options.store, this.#owner).catch(() => undefined);
      });
    });
    return this.#round;
  }

  /** @throws what hindered it from acknowledging one; the others that it took are given back, for the next round */
  async #all(): Promise<void> {
    const { store } = this.#options;
    for (;;) {
      const rows = await claim(store, this.#owner, MOST_AT_ONCE);
      for (let i = 0; i < rows.length; i += SIDE_BY_SIDE) {
        await Promise.all(rows.slice(i, i + SIDE_BY_SIDE).map((row) => this.#one(row)));
      }
      if (rows.length === 0 && !(await workLeft(store))) return;
    }
  }

  async #one(row: LoadBalancer): Promise<void> {
    const { store, network, settling } = this.#options;
    if (row.doomed) await forget(store, row, (trx) => network.release(trx, row.id));
    else await settle(store, row);
    settling.settled(row.id);
  }
}
