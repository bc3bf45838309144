/** Keeps looking at IPVS's table: the health and counters of its listeners, and whether it is as the spec wants it. */
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import writeFileAtomic from "write-file-atomic";
import { ipvsServices } from "../templates/ipvs.ts";
import type { AmphoraSpec } from "../templates/spec.ts";
import { CommandError } from "./dataplane/inside.ts";
import type { Ipvs, IpvsState } from "./dataplane/ipvs.ts";
import type { TableService } from "./dataplane/ipvs-table.ts";
import { addIpvsHealth, ipvsCounters } from "./ipvs-report.ts";
import type { Counters, HealthReport } from "./protocol.ts";
import { Ledger, type LedgerState } from "./report.ts";

export interface IpvsWatchOptions {
  readonly ipvs: Ipvs;
  /** called with what the table holds */
  readonly tend: (spec: AmphoraSpec, table: readonly TableService[]) => Promise<void>;
  /** where the counters outlive the agent */
  readonly ledgerFile: string;
  readonly log: Logger;
}

/** What the kernel has when nothing is IPVS's to serve: it need not be asked. */
const NOTHING: IpvsState = { table: [], traffic: new Map() };

export class IpvsWatch {
  readonly #options: IpvsWatchOptions;
  #ledger = new Ledger();

  constructor(options: IpvsWatchOptions) {
    this.#options = options;
  }

  /** Goes on from the counters of the agent before. */
  async open(): Promise<void> {
    const { ledgerFile, log } = this.#options;
    try {
      this.#ledger = new Ledger(JSON.parse(await readFile(ledgerFile, "utf8")) as LedgerState);
    } catch (error) {
      const isNew = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isNew) log.error({ err: error }, "IPVS's counters can't be read: they begin again");
    }
  }

  totals(listenerId: string): Counters {
    return this.#ledger.totals(listenerId);
  }

  /**
   * Completes a health report by what IPVS serves, and has put right what is not as it should be.
   * @returns false: the kernel should answer, but does not
   */
  async look(spec: AmphoraSpec, health: HealthReport): Promise<boolean> {
    const state = await this.count(spec);
    addIpvsHealth(health, spec, state?.table ?? null);
    if (state !== null && ipvsServices(spec).length > 0) await this.#options.tend(spec, state.table);
    return state !== null;
  }

  /** Takes in the counters. @returns what the kernel says, null when it does not */
  async count(spec: AmphoraSpec): Promise<IpvsState | null> {
    const wanted = ipvsServices(spec).length > 0;
    const state = wanted ? await this.#read() : NOTHING;
    if (state === null) return null;
    this.#ledger.update(ipvsCounters(spec, state));
    this.#ledger.keepOnly(new Set(spec.listeners.map(({ id }) => id)));
    if (wanted) {
      const text = JSON.stringify(this.#ledger.state());
      await writeFileAtomic(this.#options.ledgerFile, text, { mode: 0o600, fsync: false });
    }
    return state;
  }

  async #read(): Promise<IpvsState | null> {
    try {
      return await this.#options.ipvs.read();
    } catch (error) {
      if (error instanceof CommandError) return null;
      throw error;
    }
  }
}
