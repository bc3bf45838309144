/** Has the API's changes carried out in tests that have no amphorae. */
import type { NetworkDriver } from "../../controller/drivers/network.ts";
import type { Store } from "../../controller/store/database.ts";
import { claim, release } from "../../controller/store/leases.ts";
import { fail, forget, settle } from "../../controller/store/load-balancers.ts";
import type { Settling } from "../../controller/store/settling.ts";

/** Stands in for the reconciler: claims what is due and says that it is done, without any amphora. */
export class StandIn {
  readonly #store: Store;
  readonly #network: NetworkDriver;
  readonly #settling: Settling;
  #round: Promise<void> = Promise.resolve();
  #working = false;

  constructor(store: Store, network: NetworkDriver, settling: Settling) {
    this.#store = store;
    this.#network = network;
    this.#settling = settling;
    settling.onWork(() => {
      if (this.#working) this.settle();
    });
  }

  settleFromNowOn(): void {
    this.#working = true;
    this.settle();
  }

  /** Carries out what is due; returns when that is done. */
  settle(): Promise<void> {
    this.#round = this.#round.then(() => this.#settleAll());
    return this.#round;
  }

  /** Has every change that is due fail for good. */
  async fail(reason: string): Promise<void> {
    for (const row of await claim(this.#store, "stand-in", 100)) {
      await fail(this.#store, row, { reason, tryAgainAt: Date.now() + 3_600_000, error: true });
      this.#settling.settled(row.id);
    }
  }

  async stop(): Promise<void> {
    this.#working = false;
    await this.#round;
  }

  /** What becomes due meanwhile, such as a change that has waited for this, is left for the next time. */
  async #settleAll(): Promise<void> {
    let left = await this.#due();
    while (left.size > 0) {
      for (const row of await claim(this.#store, "stand-in", 100)) {
        if (row.doomed) await forget(this.#store, row, (trx) => this.#network.release(trx, row.id));
        else await settle(this.#store, row);
        await release(this.#store, "stand-in", row.id);
        this.#settling.settled(row.id);
        left.delete(row.id);
      }
      // a claim passes over what is locked in that moment
      left = left.intersection(await this.#due());
    }
  }

  async #due(): Promise<Set<string>> {
    const now = Date.now();
    const rows = await this.#store.db.selectFrom("load_balancers").select("id").where("due_at", "<=", now).execute();
    return new Set(rows.map(({ id }) => id));
  }
}
