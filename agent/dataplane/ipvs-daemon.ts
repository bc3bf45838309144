/** IPVS's part of a change: kernel settings, nftables' rules, and the keepalived that keeps the table. */
import { setTimeout as sleep } from "node:timers/promises";
import ipaddr from "ipaddr.js";
import type { Logger } from "pino";
import { isIpvs } from "../../templates/fields.ts";
import { ipvsServices, isChecked } from "../../templates/ipvs.ts";
import { CHECKERS_CONF, NFTABLES_RULES, type RenderedFiles } from "../../templates/render.ts";
import { type AmphoraSpec, SpecError } from "../../templates/spec.ts";
import type { ApplyWay } from "../protocol.ts";
import type { Checkers } from "./checkers.ts";
import type { Change, Daemon, Prepared, Rendered } from "./daemon.ts";
import { hasIpvs, type Ipvs } from "./ipvs.ts";
import { applyIpvsSettings, ipvsSettings } from "./ipvs-kernel.ts";
import { type Repairs, repairsOf, timeoutRepair } from "./ipvs-repair.ts";
import { serviceKey, type TableService } from "./ipvs-table.ts";
import { KeepalivedError } from "./keepalived.ts";
import { type MemberEvents, memberKey } from "./member-events.ts";
import { applyRules, checkRules, RulesError } from "./nftables.ts";

/** keepalived makes its services while it starts; after that they are there, or were refused by the kernel (ms). */
const SERVICES_LIMIT = 5000;
const POLL = 50;

export interface IpvsDaemonOptions {
  readonly namespace: string;
  readonly keepalived: Checkers;
  readonly ipvs: Ipvs;
  readonly events: MemberEvents;
  /** called when services are about to be made anew or taken away: what they count afterwards begins at 0 */
  readonly beforeChange: () => Promise<void>;
  readonly log: Logger;
}

/** The files of a spec without IPVS listeners. */
const NOTHING = "";
/** Time-outs are looked at every so many looks. */
const LOOKS_PER_TIMEOUTS = 5;

export class IpvsDaemon implements Daemon {
  readonly #options: IpvsDaemonOptions;
  /** what this process has set and applied: null until it has, or when it may have failed half way */
  #settings: string | null = null;
  #rules: string | null = null;
  #looks = 0;

  constructor(options: IpvsDaemonOptions) {
    this.#options = options;
  }

  async prepare({ next, inPlace }: Change): Promise<Prepared> {
    await this.#admit(next, inPlace);
    let touched = false;
    return {
      bring: async () => {
        touched = true;
        const way = await this.#bring(next, inPlace);
        touched = way !== "none";
        return way;
      },
      backOut: async () => {
        if (touched) await this.#restore(next.files, inPlace);
      },
    };
  }

  async revive({ files }: Rendered): Promise<void> {
    if (wants(files)) await this.#revive();
  }

  /**
   * Puts right what has come to differ from the spec, and gives backup members their turn.
   * @param table as it was just read
   */
  async tend(spec: AmphoraSpec, table: readonly TableService[]): Promise<void> {
    const { ipvs, keepalived, log } = this.#options;
    const { commands, missing } = this.#repairs(spec, table);
    const due = this.#looks++ % LOOKS_PER_TIMEOUTS === 0;
    const timeouts = due ? timeoutRepair(spec, await ipvs.timeouts()) : null;
    const all = timeouts === null ? commands : [...commands, timeouts];
    if (all.length > 0) log.info({ commands: all.slice(0, 20), refused: await ipvs.carryOut(all) }, "IPVS put right");
    if (missing.length > 0) {
      log.error("IPVS lacks services that keepalived should have made: starting it anew");
      await keepalived.stop();
    }
    await this.#revive();
    await keepalived.tidy();
  }

  async #revive(): Promise<void> {
    if ((await this.#options.keepalived.pid()) !== null) return;
    this.#options.log.error("keepalived is gone: starting it again");
    await this.#start();
  }

  async #start(): Promise<void> {
    const { keepalived, events } = this.#options;
    await events.open();
    events.forget();
    await keepalived.start();
  }

  #repairs(spec: AmphoraSpec, table: readonly TableService[]): Repairs {
    const { events } = this.#options;
    events.keepOnly(checkedMembers(spec));
    return repairsOf(spec, table, (...member) => events.verdict(...member));
  }

  /** @throws {SpecError} this instance can't serve it, or keepalived or nft refuses what it renders to */
  async #admit({ spec, files }: Rendered, inPlace: RenderedFiles): Promise<void> {
    const { keepalived } = this.#options;
    const ours = spec.listeners.flatMap(({ protocol }, i) => (isIpvs(protocol) ? [{ protocol, i }] : []));
    if (ours.length === 0) return;
    const lack = !(await hasIpvs())
      ? "the kernel of this instance has no ip_vs"
      : (await keepalived.version()) === null
        ? "this instance has no keepalived"
        : null;
    if (lack !== null) {
      throw new SpecError(
        ours.map(({ protocol, i }) => ({
          path: `listeners[${i}].protocol`,
          message: `${protocol} can't be served here: ${lack}`,
        })),
      );
    }
    if (!wants(files)) return;
    const isNew = (path: string) => text(files, path) !== text(inPlace, path);
    if (isNew(CHECKERS_CONF)) await heard(keepalived.check(text(files, CHECKERS_CONF)));
    if (isNew(NFTABLES_RULES)) await heard(checkRules(text(files, NFTABLES_RULES)));
  }

  async #bring(next: Rendered, inPlace: RenderedFiles): Promise<ApplyWay> {
    if (wants(next.files)) return this.#serve(next, inPlace);
    if (!wants(inPlace) && (await this.#options.keepalived.pid()) === null) return "none";
    await this.#end(inPlace);
    return "reload";
  }

  /** The rules come first: a service is never open to whom it should not be. */
  async #serve({ spec, files }: Rendered, before: RenderedFiles): Promise<ApplyWay> {
    const { keepalived, events, beforeChange } = this.#options;
    const ways: ApplyWay[] = [];
    await events.open();
    await this.#set(ipvsSettings(spec));
    if (await this.#rule(before, files)) ways.push("runtime");
    if ((await keepalived.pid()) === null) {
      await heard(this.#start());
      ways.push("restart");
    } else if (text(before, CHECKERS_CONF) !== text(files, CHECKERS_CONF)) {
      await beforeChange();
      await heard(keepalived.reload());
      ways.push("reload");
    }
    await this.#settle(spec);
    return ways.at(-1) ?? "none";
  }

  /** Reads back what the kernel has. @throws {SpecError} when it lacks a service */
  async #settle(spec: AmphoraSpec): Promise<void> {
    const { ipvs } = this.#options;
    const deadline = Date.now() + SERVICES_LIMIT;
    for (;;) {
      const { commands, missing } = this.#repairs(spec, await ipvs.table());
      if (missing.length === 0) {
        await ipvs.carryOut(commands);
        return;
      }
      if (Date.now() > deadline) {
        const names = missing.map(({ vip, port, transport }) => `${vip} ${transport} ${port}`);
        throw refused(`IPVS has not taken ${names.join(", ")}`);
      }
      await sleep(POLL);
    }
  }

  /** Goes back to the files of before, which stand on disk again. */
  async #restore(refused: RenderedFiles, before: RenderedFiles): Promise<void> {
    const { keepalived } = this.#options;
    if (!wants(before)) return this.#end(refused);
    await this.#rule(refused, before);
    if ((await keepalived.pid()) === null) await this.#start();
    else await keepalived.reload();
  }

  async #end(before: RenderedFiles): Promise<void> {
    const { keepalived, ipvs, beforeChange } = this.#options;
    await beforeChange();
    await keepalived.stop();
    await ipvs.clear();
    await this.#rule(before, new Map());
  }

  async #set(settings: readonly string[]): Promise<void> {
    const wanted = settings.join("\n");
    if (this.#settings === wanted) return;
    this.#settings = null;
    await applyIpvsSettings(this.#options.namespace, settings);
    this.#settings = wanted;
  }

  /** @returns whether the rules had to be changed */
  async #rule(before: RenderedFiles, after: RenderedFiles): Promise<boolean> {
    const wanted = text(after, NFTABLES_RULES);
    if (this.#rules === wanted) return false;
    // what this process has applied is known better than what a file says
    const known = this.#rules ?? text(before, NFTABLES_RULES);
    this.#rules = null;
    const changed = await applyRules(this.#options.namespace, known, wanted);
    this.#rules = wanted;
    return changed;
  }
}

/** The members of which keepalived says when they come and go. */
function checkedMembers(spec: AmphoraSpec): Set<string> {
  return new Set(
    ipvsServices(spec).flatMap((service) =>
      service.members
        .filter((member) => isChecked(service, member))
        .map(({ address, protocol_port: port }) =>
          memberKey(serviceKey(service), ipaddr.parse(address).toString(), port),
        ),
    ),
  );
}

function wants(files: RenderedFiles): boolean {
  return files.has(CHECKERS_CONF);
}

function text(files: RenderedFiles, path: string): string {
  return files.get(path)?.content ?? NOTHING;
}

function refused(message: string): SpecError {
  return new SpecError([{ path: "", message }]);
}

/** What keepalived says against a configuration is said against the spec that it came from. */
async function heard<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof KeepalivedError || error instanceof RulesError) throw refused(error.message);
    throw error;
  }
}
