/** Keeps flows off the replicas that do not serve. HAProxy checks the others, and is asked what it found. */
import type { Logger } from "pino";
import { selfOf } from "../templates/replicas.ts";
import type { AmphoraSpec } from "../templates/spec.ts";
import type { Haproxy } from "./dataplane/haproxy.ts";
import { setServing } from "./dataplane/replicas.ts";

export interface SpreadingOptions {
  readonly namespace: string;
  readonly haproxy: Pick<Haproxy, "replicas">;
  readonly log: Logger;
}

export class Spreading {
  readonly #options: SpreadingOptions;
  /** amphora id -> whether it serves; those that have not been found to do so get nothing yet */
  #verdicts = new Map<string, boolean>();
  #inForce = "";

  constructor(options: SpreadingOptions) {
    this.#options = options;
  }

  /** What is known of the other replicas, undefined when there are none. */
  verdicts(spec: AmphoraSpec): Record<string, boolean> | undefined {
    if (spec.replicas === null) return undefined;
    const others = spec.replicas.members.filter(({ amphora_id }) => amphora_id !== spec.amphora_id);
    return Object.fromEntries(others.map(({ amphora_id: id }) => [id, this.#verdicts.get(id) ?? false]));
  }

  /** Takes in what HAProxy has found out, and spreads flows anew if that makes a difference. @throws {CommandError} */
  async look(spec: AmphoraSpec): Promise<void> {
    if (spec.replicas === null) return;
    const found = await this.#options.haproxy.replicas();
    // a worker that has not checked yet knows nothing better
    for (const [id, serves] of found) if (serves !== null) this.#verdicts.set(id, serves);
    if (this.#slots(spec).join() !== this.#inForce) await this.spread(spec);
  }

  /** Spreads flows by what is known. @throws {CommandError} */
  async spread(spec: AmphoraSpec): Promise<void> {
    const slots = this.#slots(spec);
    this.#inForce = "";
    if (slots.length === 0) return;
    await setServing(this.#options.namespace, slots);
    this.#inForce = slots.join();
    this.#options.log.info({ slots }, "flows are spread over these replicas");
  }

  #slots(spec: AmphoraSpec): number[] {
    const self = selfOf(spec);
    const serving = (spec.replicas?.members ?? []).filter(
      (each) => each === self || this.#verdicts.get(each.amphora_id),
    );
    return serving.map(({ slot }) => slot).sort((a, b) => a - b);
  }
}
