/** Waiting for a load balancer whose change is under way, and waking the reconciler when there is work. */
import { EventEmitter, once } from "node:events";

/** Another process may be the one that settles it: looked at again after so many ms in any case. */
const LOOK_AGAIN = 100;

export class Settling {
  readonly #events = new EventEmitter().setMaxListeners(0);

  /** A load balancer has left PENDING. */
  settled(loadBalancerId: string): void {
    this.#events.emit(`settled ${loadBalancerId}`);
  }

  /** Resolves when it may have left PENDING; at the latest after `limit` ms. */
  async wait(loadBalancerId: string, limit: number): Promise<void> {
    const signal = AbortSignal.timeout(Math.max(1, Math.min(limit, LOOK_AGAIN)));
    await once(this.#events, `settled ${loadBalancerId}`, { signal }).catch(() => undefined);
  }

  /** There is something for the reconciler to do. */
  wake(): void {
    this.#events.emit("work");
  }

  onWork(listener: () => void): void {
    this.#events.on("work", listener);
  }
}
