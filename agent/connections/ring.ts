/** Connections that have ended a short while ago: as many as the ring holds, the oldest give way. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { endings } from "../dataplane/conntrack.ts";
import type { Entry } from "../dataplane/conntrack-entry.ts";
import { Forwarded } from "./forwarded.ts";
import { type Connection, type ConnectionFilter, matches } from "./protocol.ts";

/** Some 700 bytes each: 14 MB when it is full. */
export const RING_SIZE = 20_000;
/** Between the end of the command that tells endings, and the next one (ms). */
const PAUSE = 1000;

export class Ring {
  readonly #size: number;
  readonly #held: Connection[] = [];
  #next = 0;

  constructor(size = RING_SIZE) {
    this.#size = size;
  }

  add(one: Connection): void {
    this.#held[this.#next] = one;
    this.#next = (this.#next + 1) % this.#size;
  }

  /** Those of some listeners that match. */
  find(listenerIds: ReadonlySet<string>, filter: ConnectionFilter): Connection[] {
    return this.#held.filter((one) => listenerIds.has(one.listener_id) && matches(filter, one));
  }
}

export interface EndingsOptions {
  readonly namespace: string;
  /** what runs now */
  readonly spec: () => AmphoraSpec | null;
  readonly ring: Ring;
  readonly log: Logger;
}

/** Fills the ring. The command is started again when it ends. */
export class Endings {
  readonly #options: EndingsOptions;
  #reading: AbortController | null = null;
  #done: Promise<void> = Promise.resolve();
  #known: { readonly spec: AmphoraSpec; readonly forwarded: Forwarded } | null = null;

  constructor(options: EndingsOptions) {
    this.#options = options;
  }

  /** Begins to read, if it has not begun: there is something to read. */
  follow(): void {
    if (this.#reading !== null) return;
    this.#reading = new AbortController();
    this.#done = this.#read(this.#reading.signal);
  }

  async stop(): Promise<void> {
    this.#reading?.abort();
    this.#reading = null;
    await this.#done;
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { namespace, log } = this.#options;
    while (!signal.aborted) {
      try {
        for await (const batch of endings(namespace, signal)) this.#enter(batch);
      } catch (error) {
        if (!signal.aborted) log.warn({ err: error }, "reading the ends of connections failed: trying again");
      }
      await sleep(PAUSE, undefined, { signal }).catch(() => undefined);
    }
  }

  #enter(batch: readonly Entry[]): void {
    const spec = this.#options.spec();
    if (spec === null) return;
    if (this.#known?.spec !== spec) this.#known = { spec, forwarded: new Forwarded(spec) };
    const { forwarded } = this.#known;
    for (const entry of batch) {
      const one = forwarded.connectionOf(entry, entry.stop);
      if (one !== null) this.#options.ring.add(one);
    }
  }
}
