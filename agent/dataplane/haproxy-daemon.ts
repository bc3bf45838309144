/** HAProxy's part of a change: planned, checked, told or reloaded, and backed out of. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { bindsOf } from "../../templates/haproxy.ts";
import type { Layout } from "../../templates/layout.ts";
import { CERTIFICATES_FOLDER, HAPROXY_CFG, HAPROXY_FOLDER, render, targetOf } from "../../templates/render.ts";
import { type AmphoraSpec, SpecError } from "../../templates/spec.ts";
import { checkCertificates } from "../certificates.ts";
import { writeFiles } from "../files.ts";
import { type HaproxyPlan, planHaproxy, type RuntimeChange } from "../plan.ts";
import type { ApplyWay } from "../protocol.ts";
import { type Change, type Daemon, type Prepared, type Rendered, sameFiles } from "./daemon.ts";
import type { Haproxy } from "./haproxy.ts";
import { problemsOf } from "./haproxy-complaints.ts";
import { commandsOf } from "./haproxy-runtime.ts";
import { HaproxyError } from "./haproxy-socket.ts";

export interface HaproxyDaemonOptions {
  readonly haproxy: Haproxy;
  readonly layout: Layout;
  /** called when the serving worker is about to be replaced */
  readonly beforeReload: () => Promise<void>;
  readonly log: Logger;
}

/** Where HAProxy's files are. */
const FOLDERS = [HAPROXY_FOLDER, CERTIFICATES_FOLDER];

/** What is to be done once the files are in place: HAProxy is dead, or serves what is planned from, or who knows. */
type Task = { readonly how: "start" } | HaproxyPlan;

export class HaproxyDaemon implements Daemon {
  readonly #options: HaproxyDaemonOptions;
  /** whether HAProxy may hold changes that its file does not tell of */
  #uncertain = false;

  constructor(options: HaproxyDaemonOptions) {
    this.#options = options;
  }

  async prepare(change: Change): Promise<Prepared> {
    checkCertificates(change.next.spec);
    const task = await this.#task(change);
    if (task.how === "start" || task.how === "reload") {
      await this.#check(change.next);
      await this.#checkPorts(change.next.spec);
    }
    let brought: ApplyWay | null = null;
    return {
      bring: async () => {
        brought = await this.#bring(task, change.next.spec);
        return brought;
      },
      backOut: () => this.#backOut(change.running, brought),
    };
  }

  async revive(): Promise<void> {
    const { haproxy, log } = this.#options;
    if ((await haproxy.processes()) !== null) return;
    log.error("HAProxy is gone: starting it again");
    await haproxy.start();
  }

  async #task({ running, next, inPlace }: Change): Promise<Task> {
    if ((await this.#options.haproxy.processes()) === null) return { how: "start" };
    if (this.#uncertain) return { how: "reload" };
    if (sameFiles(next.files, inPlace, ...FOLDERS)) return { how: "none" };
    // only when the file in place is the one that the running spec renders to is it known what HAProxy serves
    if (running === null || !sameFiles(running.files, inPlace, ...FOLDERS)) return { how: "reload" };
    return planHaproxy(running.spec, next.spec);
  }

  async #bring(task: Task, next: AmphoraSpec): Promise<ApplyWay> {
    const { haproxy, beforeReload, log } = this.#options;
    try {
      if (task.how === "none") return "none";
      if (task.how === "start") {
        await haproxy.start();
        this.#uncertain = false;
        return "restart";
      }
      if (task.how === "runtime" && (await this.#tell(task.changes))) return "runtime";
      await beforeReload();
      await haproxy.reload(next);
      this.#uncertain = false;
      return "reload";
    } catch (error) {
      if (!(error instanceof HaproxyError)) throw error;
      log.warn({ error: error.message }, "HAProxy refused a spec");
      throw new SpecError([{ path: "", message: error.message }]);
    }
  }

  /** Whether the running worker took the changes. */
  async #tell(changes: readonly RuntimeChange[]): Promise<boolean> {
    const { haproxy, layout, log } = this.#options;
    this.#uncertain = true;
    try {
      await haproxy.change(changes.flatMap((change) => commandsOf(change, layout.certificatesDir)));
      this.#uncertain = false;
      return true;
    } catch (error) {
      if (!(error instanceof HaproxyError)) throw error;
      log.warn({ error: error.message }, "the running HAProxy refused a change: reloading");
      return false;
    }
  }

  async #backOut(running: Rendered | null, brought: ApplyWay | null): Promise<void> {
    const { haproxy } = this.#options;
    if (running === null) {
      if (brought === "restart") await haproxy.stop();
      return;
    }
    // a failed reload is left behind, too, so that the next one starts from a sound state
    const changed = brought !== null && brought !== "none";
    if (changed || this.#uncertain || (await haproxy.processes())?.failed) await haproxy.reload(running.spec);
  }

  /** Has HAProxy read the new files, aside, before they replace the old ones. */
  async #check({ spec }: Rendered): Promise<void> {
    const { layout, haproxy } = this.#options;
    // on tmpfs: there are keys among them
    const aside = join(layout.runDir, "candidate");
    const candidate = { ...layout, configDir: aside, certificatesDir: join(aside, "certificates") };
    const files = render(spec, candidate);
    try {
      await writeFiles(files, candidate);
      await haproxy.check(targetOf(HAPROXY_CFG, candidate));
    } catch (error) {
      if (!(error instanceof HaproxyError)) throw error;
      throw new SpecError(problemsOf(error.complaints, files.get(HAPROXY_CFG)?.content ?? "", spec));
    } finally {
      await rm(aside, { recursive: true, force: true });
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
}
