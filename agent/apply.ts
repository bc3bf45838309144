/** validate -> render -> check -> swap -> reload -> verify, or back out: the one way a spec reaches the data plane. */

import { mkdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "pino";
import writeFileAtomic from "write-file-atomic";
import { bindsOf } from "../templates/haproxy.ts";
import type { Layout } from "../templates/layout.ts";
import { HAPROXY_CFG, type RenderedFiles, render } from "../templates/render.ts";
import { type AmphoraSpec, parseSpec, SpecError } from "../templates/spec.ts";
import type { Haproxy } from "./dataplane/haproxy.ts";
import { HaproxyError } from "./dataplane/haproxy-socket.ts";
import { applyNetwork } from "./dataplane/namespace.ts";
import { planHaproxy } from "./plan.ts";
import type { ApplyAnswer, ApplyWay } from "./protocol.ts";

/** The spec is not newer than what runs here. */
export class RevisionError extends Error {
  override readonly name = "RevisionError";
}

export interface ApplierOptions {
  readonly amphoraId: string;
  readonly namespace: string;
  readonly layout: Layout;
  readonly stateDir: string;
  readonly haproxy: Haproxy;
  /** called when the serving worker is about to be replaced */
  readonly beforeReload: () => Promise<void>;
  readonly log: Logger;
}

export class Applier {
  readonly #options: ApplierOptions;
  readonly #specFile: string;
  #running: AmphoraSpec | null = null;
  /** what was last applied before this process: no older revision is taken, even when it could not be brought back */
  #persisted: AmphoraSpec | null = null;
  /** whether HAProxy may hold changes that its file does not tell of */
  #uncertain = false;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: ApplierOptions) {
    this.#options = options;
    this.#specFile = join(options.stateDir, "spec.json");
  }

  /** The spec in force, null before the first. */
  get running(): AmphoraSpec | null {
    return this.#running;
  }

  /**
   * Makes the instance what the document says. Calls are carried out one after the other; a call that fails leaves
   * everything as it was, and the same document twice changes nothing.
   * @throws {SpecError} the document is no valid spec, is another amphora's, or HAProxy refuses what it renders to
   * @throws {RevisionError} a newer revision runs already
   * @throws {NetworkError} the instance's network is not ready for it
   */
  apply(document: unknown): Promise<ApplyAnswer> {
    return this.#oneAtATime(async () => {
      const started = performance.now();
      const spec = parseSpec(document);
      this.#admit(spec);
      const how = await this.#bringAbout(spec);
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
      const text = await readFile(this.#specFile, "utf8").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return null;
        throw error;
      });
      if (text === null) return false;
      const spec = parseSpec(JSON.parse(text));
      this.#persisted = spec;
      const how = await this.#bringAbout(spec);
      this.#options.log.info({ revision: spec.revision, how }, "came back to the last spec");
      return true;
    });
  }

  /** Runs work while no spec is on its way to the data plane: what it sees is of one piece with `running`. */
  undisturbed<T>(work: () => Promise<T>): Promise<T> {
    return this.#oneAtATime(work);
  }

  /** Starts HAProxy again if it died. */
  revive(): Promise<void> {
    return this.#oneAtATime(async () => {
      if (this.#running === null || (await this.#options.haproxy.processes()) !== null) return;
      this.#options.log.error("HAProxy is gone: starting it again");
      await this.#options.haproxy.start();
    });
  }

  /** What is rendered now. */
  files(): { path: string; content: string }[] {
    if (this.#running === null) return [];
    const { layout } = this.#options;
    return [...render(this.#running, layout)].map(([path, file]) => ({
      path: join(layout.configDir, path),
      content: file.content,
    }));
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
    const running = this.#running ?? this.#persisted;
    if (running === null || spec.revision > running.revision) return;
    if (spec.revision < running.revision) {
      throw new RevisionError(`revision ${spec.revision} is older than ${running.revision}, which runs`);
    }
    if (!isDeepStrictEqual(spec, running)) {
      throw new RevisionError(`revision ${spec.revision} runs already, with other content`);
    }
  }

  async #bringAbout(spec: AmphoraSpec): Promise<ApplyWay> {
    const { haproxy, layout, namespace } = this.#options;
    const files = render(spec, layout);
    const previous = await this.#filesInPlace(files);
    const alive = (await haproxy.processes()) !== null;
    // only when the file in place is the one that the running spec renders to is it known what HAProxy serves
    const served =
      alive && this.#running !== null && same(render(this.#running, layout), previous) ? this.#running : null;
    const plan = served === null ? null : planHaproxy(served, spec);
    const unchanged = alive && !this.#uncertain && same(files, previous);

    if (plan?.how === "reload" || (plan === null && !unchanged)) {
      await this.#check(files);
      await this.#checkPorts(spec);
    }
    try {
      await applyNetwork(namespace, spec);
      await this.#write(files);
      const how = await this.#bringHaproxy(spec, plan?.how === "runtime" ? plan.commands : null, alive, unchanged);
      await writeFileAtomic(this.#specFile, JSON.stringify(spec), { mode: 0o600 });
      this.#running = spec;
      return how;
    } catch (error) {
      await this.#backOut(files, previous);
      if (error instanceof HaproxyError) throw new SpecError([{ path: "", message: error.message }]);
      throw error;
    }
  }

  async #bringHaproxy(
    spec: AmphoraSpec,
    commands: readonly string[] | null,
    alive: boolean,
    unchanged: boolean,
  ): Promise<ApplyWay> {
    const { haproxy, beforeReload, log } = this.#options;
    if (!alive) {
      await haproxy.start();
      this.#uncertain = false;
      return "restart";
    }
    if (unchanged) return "none";
    if (commands !== null) {
      try {
        this.#uncertain = true;
        await haproxy.change(commands);
        this.#uncertain = false;
        return "runtime";
      } catch (error) {
        if (!(error instanceof HaproxyError)) throw error;
        log.warn({ error: error.message }, "the running HAProxy refused a change: reloading");
      }
    }
    await beforeReload();
    await haproxy.reload(spec);
    this.#uncertain = false;
    return "reload";
  }

  /** Has HAProxy read the new file before it replaces the old one. */
  async #check(files: RenderedFiles): Promise<void> {
    const { layout, haproxy } = this.#options;
    const file = files.get(HAPROXY_CFG);
    if (file === undefined) return;
    const candidate = join(layout.configDir, `${HAPROXY_CFG}.new`);
    await mkdir(dirname(candidate), { recursive: true, mode: 0o700 });
    try {
      await writeFileAtomic(candidate, file.content, { mode: file.mode });
      await haproxy.check(candidate);
    } catch (error) {
      if (error instanceof HaproxyError) throw new SpecError([{ path: "", message: error.message }]);
      throw error;
    } finally {
      await rm(candidate, { force: true });
    }
  }

  /** Finds out before a reload does that another process has a listener's port. */
  async #checkPorts(spec: AmphoraSpec): Promise<void> {
    const taken = await this.#options.haproxy.taken(bindsOf(spec));
    if (taken.length === 0) return;
    throw new SpecError(
      taken.map(({ address, port }) => ({
        path: `listeners[${spec.listeners.findIndex((each) => each.protocol_port === port)}].protocol_port`,
        message: `another process on the instance listens on port ${port} of ${address}`,
      })),
    );
  }

  async #filesInPlace(wanted: RenderedFiles): Promise<RenderedFiles> {
    const found = new Map<string, { content: string; mode: number }>();
    for (const [path, { mode }] of wanted) {
      const content = await readFile(join(this.#options.layout.configDir, path), "utf8").catch(() => null);
      if (content !== null) found.set(path, { content, mode });
    }
    return found;
  }

  async #write(files: RenderedFiles): Promise<void> {
    for (const [path, file] of files) {
      const target = join(this.#options.layout.configDir, path);
      await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      await writeFileAtomic(target, file.content, { mode: file.mode });
    }
  }

  /** Puts the files back as they were; HAProxy has kept serving what they say. */
  async #backOut(refused: RenderedFiles, previous: RenderedFiles): Promise<void> {
    const { haproxy, layout, log, namespace } = this.#options;
    await this.#write(previous);
    for (const path of refused.keys()) {
      if (!previous.has(path)) await rm(join(layout.configDir, path), { force: true });
    }
    if (this.#running === null) return;
    try {
      await applyNetwork(namespace, this.#running);
      // leaves the master's "last reload failed" state, so that the next reload starts from a sound one
      if ((await haproxy.processes())?.failed) await haproxy.reload(this.#running);
    } catch (error) {
      log.error({ err: error }, "backing out of a refused spec failed: the last good worker still serves");
    }
  }
}

function same(a: RenderedFiles, b: RenderedFiles): boolean {
  return a.size === b.size && [...a].every(([path, file]) => b.get(path)?.content === file.content);
}
