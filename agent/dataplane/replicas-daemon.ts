/** The replicas' part of a change: the rules that spread flows, and the ways to the others. */
import { REPLICAS_RULES, type RenderedFiles } from "../../templates/render.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import type { Spreading } from "../spreading.ts";
import type { Change, Daemon, Prepared } from "./daemon.ts";
import { applyReplicaRoutes, applySpreading } from "./replicas.ts";

export interface ReplicasDaemonOptions {
  readonly namespace: string;
  readonly spreading: Spreading;
}

export class ReplicasDaemon implements Daemon {
  readonly #options: ReplicasDaemonOptions;

  constructor(options: ReplicasDaemonOptions) {
    this.#options = options;
  }

  async prepare({ running, next, inPlace }: Change): Promise<Prepared> {
    // routes are cheap to compare, but not for each change of a member
    const same =
      running !== null && textOf(running.files) === textOf(next.files) && textOf(inPlace) === textOf(next.files);
    let touched = false;
    return {
      bring: async () => {
        if (same) return "none";
        touched = true;
        await this.#bring(next.spec, textOf(next.files));
        return textOf(next.files) === textOf(inPlace) ? "none" : "runtime";
      },
      backOut: async () => {
        if (touched && running !== null) await this.#bring(running.spec, textOf(running.files));
      },
    };
  }

  /** Nothing of it is a process. */
  async revive(): Promise<void> {}

  /** Ways come before what is sent along them. */
  async #bring(spec: AmphoraSpec, rules: string): Promise<void> {
    const { namespace, spreading } = this.#options;
    if (rules !== "") await applyReplicaRoutes(namespace, spec);
    await applySpreading(namespace, rules);
    if (rules === "") await applyReplicaRoutes(namespace, spec);
    await spreading.spread(spec);
  }
}

/** Empty: there are no replicas. */
function textOf(files: RenderedFiles): string {
  return files.get(REPLICAS_RULES)?.content ?? "";
}
