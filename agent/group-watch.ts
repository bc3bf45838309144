/** Keeps looking at the amphora's place among others: who holds the VIPs, and which replicas serve. */
import type { Logger } from "pino";
import type { AmphoraSpec } from "../templates/spec.ts";
import { CommandError } from "./dataplane/inside.ts";
import type { Vrrp } from "./dataplane/vrrp.ts";
import type { HealthReport } from "./protocol.ts";
import type { Spreading } from "./spreading.ts";

export interface GroupWatchOptions {
  readonly vrrp: Vrrp;
  readonly spreading: Spreading;
  /** the spec in force */
  readonly spec: () => AmphoraSpec | null;
  readonly log: Logger;
}

/** How often it is asked which replicas serve (ms): HAProxy checks them about as often. */
const INTERVAL = 250;

export class GroupWatch {
  readonly #options: GroupWatchOptions;
  #timer: NodeJS.Timeout | null = null;
  #looking = false;

  constructor(options: GroupWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => void this.#spread(), INTERVAL);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Completes a health report. @returns false: keepalived should run, but does not */
  async look(spec: AmphoraSpec, health: HealthReport): Promise<boolean> {
    const { vrrp, spreading } = this.#options;
    if (spec.vrrp === null) return true;
    const state = await vrrp.state();
    const replicas = spreading.verdicts(spec);
    Object.assign(health, { vrrp: { state } }, replicas === undefined ? {} : { replicas });
    await vrrp.trimLog();
    return state !== "DOWN";
  }

  async #spread(): Promise<void> {
    const spec = this.#options.spec();
    if (spec === null || spec.replicas === null || this.#looking) return;
    this.#looking = true;
    try {
      await this.#options.spreading.look(spec);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.#options.log.error({ err: error }, "spreading flows over the replicas failed");
    } finally {
      this.#looking = false;
    }
  }
}
