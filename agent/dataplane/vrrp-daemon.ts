/** VRRP's part of a change: when this amphora may hold the VIPs, and that keepalived knows the others. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { type RenderedFiles, VRRP_CONF } from "../../templates/render.ts";
import { type AmphoraSpec, SpecError } from "../../templates/spec.ts";
import type { ApplyWay } from "../protocol.ts";
import type { Change, Daemon, Prepared, Rendered } from "./daemon.ts";
import { KeepalivedError } from "./keepalived.ts";
import { applyNetwork } from "./namespace.ts";
import type { Vrrp } from "./vrrp.ts";

export interface VrrpDaemonOptions {
  readonly namespace: string;
  readonly vrrp: Vrrp;
  /**
   * ms that an amphora waits, when it comes back, for the controller to bring it up to date before it may hold the VIPs.
   * Without a controller it then serves what it knows: that is more than nothing.
   */
  readonly catchUpLimit: number;
  readonly log: Logger;
}

/** A master is missed after less than four adverts (RFC 9568, 6.1), on a busy machine a little later. */
const ELECTION = 6;
const ELECTION_LIMIT = 5000;

export class VrrpDaemon implements Daemon {
  readonly #options: VrrpDaemonOptions;
  #patience: NodeJS.Timeout | null = null;

  constructor(options: VrrpDaemonOptions) {
    this.#options = options;
  }

  async prepare({ next, inPlace, resumed }: Change): Promise<Prepared> {
    const before = await this.#options.vrrp.restraint();
    let touched = false;
    return {
      bring: async () => {
        touched = true;
        return next.spec.vrrp === null ? this.#end(next.spec) : this.#serve(next, inPlace, resumed);
      },
      backOut: async () => {
        if (touched) await this.#restore(inPlace, before);
      },
    };
  }

  async revive({ spec, files }: Rendered): Promise<void> {
    const { vrrp, log } = this.#options;
    if (!files.has(VRRP_CONF) || (await vrrp.pid()) !== null) return;
    log.error("the keepalived that speaks VRRP is gone: starting it again");
    // the VIPs that it has left behind serve; a new one takes them away, so another one is to have them by then
    if (await vrrp.wasMaster()) await sleep(Math.min(ELECTION * (spec.vrrp?.advert_interval_ms ?? 0), ELECTION_LIMIT));
    await vrrp.start();
  }

  /** Waits no longer for the controller. */
  stop(): void {
    if (this.#patience !== null) clearTimeout(this.#patience);
    this.#patience = null;
  }

  async #serve({ spec, files }: Rendered, before: RenderedFiles, resumed: boolean): Promise<ApplyWay> {
    const { vrrp } = this.#options;
    const runs = (await vrrp.pid()) !== null;
    await this.#restrain(spec, resumed, runs);
    if (runs && content(before) === content(files)) return "none";
    try {
      await vrrp.check(content(files) ?? "");
      await (runs ? vrrp.reload() : vrrp.start());
    } catch (error) {
      if (!(error instanceof KeepalivedError)) throw error;
      throw new SpecError([{ path: "vrrp", message: error.message }]);
    }
    return runs ? "reload" : "restart";
  }

  /** An amphora that was away must not hold the VIPs with what it knew then, while others know better. */
  async #restrain({ standby }: AmphoraSpec, resumed: boolean, runs: boolean): Promise<void> {
    const { vrrp, catchUpLimit, log } = this.#options;
    if (standby) return vrrp.restrain("STANDBY");
    if (!resumed) {
      this.stop();
      return vrrp.restrain(null);
    }
    // keepalived has gone on without the agent: nothing was missed
    if (runs && (await vrrp.restraint()) === null) return;
    await vrrp.restrain("WAITING");
    this.stop();
    this.#patience = setTimeout(() => {
      log.warn({ limit: catchUpLimit }, "no controller has spoken: serving what was known before");
      vrrp.restrain(null).catch((error: unknown) => log.error({ err: error }, "joining VRRP failed"));
    }, catchUpLimit);
    this.#patience.unref();
  }

  async #end(spec: AmphoraSpec): Promise<ApplyWay> {
    const { vrrp, namespace } = this.#options;
    this.stop();
    if ((await vrrp.pid()) === null) return "none";
    await vrrp.stop();
    // with it went the VIPs
    await applyNetwork(namespace, spec);
    return "restart";
  }

  /** Goes back to the file of before, which stands on disk again. */
  async #restore(before: RenderedFiles, restraint: Awaited<ReturnType<Vrrp["restraint"]>>): Promise<void> {
    const { vrrp } = this.#options;
    if (!before.has(VRRP_CONF)) {
      await vrrp.stop();
      return;
    }
    await vrrp.restrain(restraint);
    if ((await vrrp.pid()) === null) await vrrp.start();
    else await vrrp.reload();
  }
}

function content(files: RenderedFiles): string | undefined {
  return files.get(VRRP_CONF)?.content;
}
