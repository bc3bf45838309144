/** Keeps looking at the data plane: its health, its counters, and whether it still lives. */
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import writeFileAtomic from "write-file-atomic";
import { isIpvs } from "../templates/fields.ts";
import type { AmphoraSpec } from "../templates/spec.ts";
import type { Applier } from "./apply.ts";
import type { Haproxy } from "./dataplane/haproxy.ts";
import { removalsOf } from "./dataplane/haproxy-runtime.ts";
import { HaproxyError } from "./dataplane/haproxy-socket.ts";
import type { StatRow } from "./dataplane/haproxy-stats.ts";
import type { GroupWatch } from "./group-watch.ts";
import type { IpvsWatch } from "./ipvs-watch.ts";
import { Pinger } from "./pinger.ts";
import type { Counters, HealthReport, StatsReport } from "./protocol.ts";
import { digestOf, healthOf, Ledger, type LedgerState } from "./report.ts";

export interface WatchOptions {
  readonly applier: Applier;
  readonly haproxy: Haproxy;
  readonly pinger: Pinger;
  readonly ipvs: IpvsWatch;
  readonly group: GroupWatch;
  /** where the counters outlive the agent */
  readonly ledgerFile: string;
  /** ms between two looks */
  readonly interval: number;
  /** called when the health report says something else than before */
  readonly onChange: () => void;
  readonly log: Logger;
}

export class Watch {
  readonly #options: WatchOptions;
  #ledger = new Ledger();
  #health: HealthReport = { revision: 0, listeners: {}, pools: {} };
  #digest = digestOf(this.#health);
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> = Promise.resolve();

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** What was found at the last look. */
  get health(): HealthReport {
    return this.#health;
  }

  /** What is found at the looks that have been asked for. */
  async current(): Promise<HealthReport> {
    await this.#looking;
    return this.#health;
  }

  get digest(): string {
    return this.#digest;
  }

  get stats(): StatsReport {
    const { applier, ipvs } = this.#options;
    const listeners: Record<string, Counters> = {};
    for (const { id, protocol } of applier.running?.listeners ?? []) {
      listeners[id] = (isIpvs(protocol) ? ipvs : this.#ledger).totals(id);
    }
    return { listeners };
  }

  async start(): Promise<void> {
    const { ledgerFile, log } = this.#options;
    try {
      this.#ledger = new Ledger(JSON.parse(await readFile(ledgerFile, "utf8")) as LedgerState);
    } catch (error) {
      const isNew = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isNew) log.error({ err: error }, "the counters can't be read: they begin again");
    }
    await this.#options.ipvs.open();
    this.#schedule();
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    await Promise.all([this.#looking, this.#options.pinger.stop()]);
  }

  /**
   * Looks again: at what is there when it is called, not at what an earlier look under way has seen. Never throws: a
   * data plane that does not answer is what it reports.
   */
  look(): Promise<void> {
    this.#looking = this.#looking
      .then(() => this.#look())
      .catch((error: unknown) => {
        this.#options.log.error({ err: error }, "looking at the data plane failed");
      });
    return this.#looking;
  }

  /** Takes in the counters once more, before a worker may end: what it counts after the last look at it is lost. */
  async count(): Promise<void> {
    const spec = this.#options.applier.running;
    if (spec === null) return;
    await Promise.all([this.#count(spec), this.#options.ipvs.count(spec)]).catch((error: unknown) => {
      this.#options.log.error({ err: error }, "reading the counters failed");
    });
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      void this.look().then(() => {
        if (this.#timer !== null) this.#schedule();
      });
    }, this.#options.interval);
  }

  async #look(): Promise<void> {
    const { applier, onChange } = this.#options;
    const answers = await applier.undisturbed(() => this.#read());
    const digest = digestOf(this.#health);
    if (digest !== this.#digest) {
      this.#digest = digest;
      onChange();
    }
    if (!answers) await applier.revive();
  }

  /** Takes in what the data plane says. False: it should run, but does not answer. */
  async #read(): Promise<boolean> {
    const spec = this.#options.applier.running;
    if (spec === null) return true;
    const stats = await this.#count(spec);
    const rows = stats?.rows.get(stats.worker) ?? null;
    const health = healthOf(spec, rows !== null && (await this.#tell(spec, rows)) ? await this.#rows() : rows);
    await this.#options.haproxy.trimLog();
    const ipvsAnswers = await this.#options.ipvs.look(spec, health);
    const groupAnswers = await this.#options.group.look(spec, health);
    this.#health = health;
    return stats !== null && ipvsAnswers && groupAnswers;
  }

  /** Tells HAProxy what it does not know by itself. @returns whether there was anything */
  async #tell(spec: AmphoraSpec, rows: readonly StatRow[]): Promise<boolean> {
    const { haproxy, pinger, log } = this.#options;
    if (Pinger.isNeeded(spec)) pinger.beat(spec, rows);
    const commands = [...pinger.corrections(spec, rows), ...removalsOf(spec, rows)];
    if (commands.length === 0) return false;
    await haproxy.change(commands).catch((error: unknown) => {
      if (!(error instanceof HaproxyError)) throw error;
      log.warn({ error: error.message }, "HAProxy refused what the agent found out");
    });
    return true;
  }

  /** What the serving worker says now. */
  async #rows(): Promise<readonly StatRow[] | null> {
    const stats = await this.#options.haproxy.stats().catch(() => null);
    return stats?.rows.get(stats.worker) ?? null;
  }

  /** @returns what every worker says, null when there is no answer */
  async #count(spec: AmphoraSpec): Promise<Awaited<ReturnType<Haproxy["stats"]>> | null> {
    const { haproxy, ledgerFile } = this.#options;
    const stats = await haproxy.stats().catch((error: unknown) => {
      if (error instanceof HaproxyError) return null;
      throw error;
    });
    if (stats !== null) {
      this.#ledger.update(stats.rows);
      this.#ledger.keepOnly(new Set(spec.listeners.map((listener) => listener.id)));
      await writeFileAtomic(ledgerFile, JSON.stringify(this.#ledger.state()), { mode: 0o600, fsync: false });
    }
    return stats;
  }
}
