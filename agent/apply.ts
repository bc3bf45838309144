/** validate -> render -> check -> swap -> reload -> verify, or back out: the one way a spec reaches the data plane. */

import { rm } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import type { Layout } from "../templates/layout.ts";
import { render, targetOf } from "../templates/render.ts";
import { type AmphoraSpec, parseSpec, SpecError } from "../templates/spec.ts";
import type { Change, Daemon, Prepared, Rendered } from "./dataplane/daemon.ts";
import { applyNetwork } from "./dataplane/namespace.ts";
import { readFiles, removeOthers, writeFiles } from "./files.ts";
import { APPLY_WAYS, type ApplyAnswer, type ApplyWay } from "./protocol.ts";
import type { SpecFile } from "./spec-file.ts";

/** The spec is not newer than what runs here. */
export class RevisionError extends Error {
  override readonly name = "RevisionError";
}

export interface ApplierOptions {
  readonly amphoraId: string;
  readonly namespace: string;
  readonly layout: Layout;
  readonly specFile: SpecFile;
  /** in the order in which they take a change */
  readonly daemons: readonly Daemon[];
  readonly log: Logger;
}

export class Applier {
  readonly #options: ApplierOptions;
  #running: Rendered | null = null;
  /** what was last applied before this process: no older revision is taken, even when it could not be brought back */
  #persisted: AmphoraSpec | null = null;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /** The spec in force, null before the first. */
  get running(): AmphoraSpec | null {
    return this.#running?.spec ?? null;
  }

  /**
   * Makes the instance what the document says. Calls are carried out one after the other; a call that fails leaves
   * everything as it was, and the same document twice changes nothing.
   * @throws {SpecError} the document is no valid spec, is another amphora's, or a daemon refuses what it renders to
   * @throws {RevisionError} a newer revision runs already
   * @throws {NetworkError} the instance's network is not ready for it
   */
  apply(document: unknown): Promise<ApplyAnswer> {
    return this.#oneAtATime(async () => {
      const started = performance.now();
      const spec = parseSpec(document);
      this.#admit(spec);
      const how = await this.#bringAbout(spec, false);
      const answer = { revision: spec.revision, how, duration_ms: Math.round(performance.now() - started) };
      this.#options.log.info(answer, "spec applied");
      return answer;
    });
  }

  /**
   * Comes back to the last applied spec after a restart of the agent or of the instance. False: there is none yet.
   * @throws what `apply` throws, and SyntaxError for a file that is no JSON
   */
  resume(): Promise<boolean> {
    return this.#oneAtATime(async () => {
      const document = await this.#options.specFile.read();
      if (document === null) return false;
      const spec = parseSpec(document);
      this.#persisted = spec;
      const how = await this.#bringAbout(spec, true);
      this.#options.log.info({ revision: spec.revision, how }, "came back to the last spec");
      return true;
    });
  }

  /** Runs work while no spec is on its way to the data plane: what it sees is of one piece with `running`. */
  undisturbed<T>(work: () => Promise<T>): Promise<T> {
    return this.#oneAtATime(work);
  }

  /** Starts again what died. */
  revive(): Promise<void> {
    return this.#oneAtATime(async () => {
      if (this.#running === null) return;
      for (const daemon of this.#options.daemons) await daemon.revive(this.#running);
    });
  }

  /** What is rendered now, without what is secret. */
  files(): { path: string; content: string }[] {
    return [...(this.#running?.files ?? [])]
      .filter(([, { secret }]) => !secret)
      .map(([path, { content }]) => ({ path: targetOf(path, this.#options.layout), content }));
  }

  #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  #admit(spec: AmphoraSpec): void {
    if (spec.amphora_id !== this.#options.amphoraId) {
      throw new SpecError([{ path: "amphora_id", message: `this is amphora ${this.#options.amphoraId}` }]);
    }
    const running = this.running ?? this.#persisted;
    if (running === null || spec.revision > running.revision) return;
    if (spec.revision < running.revision) {
      throw new RevisionError(`revision ${spec.revision} is older than ${running.revision}, which runs`);
    }
    if (!isDeepStrictEqual(spec, running)) {
      throw new RevisionError(`revision ${spec.revision} runs already, with other content`);
    }
  }

  async #bringAbout(spec: AmphoraSpec, resumed: boolean): Promise<ApplyWay> {
    const { daemons, layout, namespace, specFile } = this.#options;
    const next = { spec, files: render(spec, layout) };
    const change = {
      running: this.#running,
      next,
      inPlace: await readFiles(layout, next.files, this.#running?.files ?? new Map()),
      resumed,
    };
    const prepared: Prepared[] = [];
    for (const daemon of daemons) prepared.push(await daemon.prepare(change));
    try {
      if (!sameNetwork(change)) await applyNetwork(namespace, spec);
      await writeFiles(next.files, layout);
      const ways: ApplyWay[] = [];
      for (const each of prepared) ways.push(await each.bring());
      await specFile.write(spec);
      this.#running = next;
      await removeOthers(next.files, layout);
      return dearest(ways);
    } catch (error) {
      await this.#backOut(change, prepared);
      throw error;
    }
  }

  /** Puts everything back as it was: the files, the network, and what the daemons serve. */
  async #backOut({ next, inPlace }: Change, prepared: readonly Prepared[]): Promise<void> {
    const { layout, log, namespace } = this.#options;
    await writeFiles(inPlace, layout);
    for (const path of next.files.keys()) {
      if (!inPlace.has(path)) await rm(targetOf(path, layout), { force: true });
    }
    try {
      if (this.#running !== null) await applyNetwork(namespace, this.#running.spec);
      for (const each of prepared) await each.backOut();
    } catch (error) {
      log.error({ err: error }, "backing out of a refused spec failed: the last good worker still serves");
    }
  }
}

/**
 * Whether a new revision leaves the network as it is: looking at that takes longer than all else of a small change. The
 * same revision again is to put right whatever is not as it should be.
 */
function sameNetwork({ running, next }: Change): boolean {
  if (running === null || running.spec.revision === next.spec.revision) return false;
  const network = ({ spec: { interfaces, vips, standby, replicas } }: Rendered) => ({
    interfaces,
    vips,
    standby,
    isReplica: replicas !== null,
  });
  return isDeepStrictEqual(network(running), network(next));
}

/** Of the ways that several daemons took, the one that cost most. */
function dearest(ways: readonly ApplyWay[]): ApplyWay {
  return APPLY_WAYS.findLast((way) => ways.includes(way)) ?? "none";
}
