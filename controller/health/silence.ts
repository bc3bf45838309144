/**
 * Amphorae that have fallen silent: suspected, confirmed, and only then replaced. When many fall silent at once, the
 * fault is more likely here: nothing is replaced until most of them speak again.
 */
import type { Logger } from "pino";
import { type AgentClient, addressOf } from "../amphorae/client.ts";
import { type Amphora, amphora, NEVER_SERVED } from "../model/amphora.ts";
import { loadBalancer } from "../model/load-balancer.ts";
import type { Store } from "../store/database.ts";
import { lockLoadBalancer, makeDue } from "../store/load-balancers.ts";
import { findRow, selectRows, updateRow } from "../store/rows.ts";
import type { Settling } from "../store/settling.ts";
import type { Registry, Seen } from "./registry.ts";
import { Suspicions } from "./suspicions.ts";

export interface SilenceOptions {
  readonly store: Store;
  readonly client: Pick<AgentClient, "info" | "health">;
  readonly settling: Settling;
  readonly registry: Registry;
  readonly heartbeatIntervalMs: number;
  /** ms of silence after which an amphora is suspected */
  readonly silence: number;
  /** nothing is replaced while so many are silent, and they are such a share (0 to 1) of all */
  readonly holdCount: number;
  readonly holdShare: number;
  /** for so many rounds no controller may have heard an amphora that is taken for silent */
  readonly rounds: number;
  /** called with one whose heartbeats get lost, but which answers */
  readonly onFound: (seen: Seen) => void;
  /** most amphorae replaced at a time */
  readonly concurrency: number;
  readonly log: Logger;
}

/** Those that fell silent at one moment cross the limit within so many intervals: heartbeats are spread by 20 %. */
const SPREAD = 1.2;
/** One that its VRRP peer still sees serves: it can't be configured any more, but there is no hurry (times the limit). */
const STILL_SEEN = 10;
const PROBE_LIMIT = 2000;

/** What the watch sees, for operators. */
export interface SilenceState {
  readonly amphorae: number;
  readonly silent: number;
  readonly holdingBack: boolean;
  /** whether silent ones wait, for as many as may be are being replaced */
  readonly full: boolean;
  /** since the start */
  readonly replaced: number;
  /** silent, but found alive when asked */
  readonly found: number;
}

export class SilenceWatch {
  readonly #options: SilenceOptions;
  readonly #suspicions: Suspicions;
  #holdingBack = false;
  #full = false;
  #replaced = 0;
  #found = 0;
  #silent = 0;

  constructor(options: SilenceOptions) {
    this.#options = options;
    this.#suspicions = new Suspicions(options.store, options.registry, options.rounds);
  }

  get state(): SilenceState {
    const { size: amphorae } = this.#options.registry;
    return {
      amphorae,
      silent: this.#silent,
      holdingBack: this.#holdingBack,
      full: this.#full,
      replaced: this.#replaced,
      found: this.#found,
    };
  }

  /** Finds out which amphorae are silent for all controllers. @throws what the store throws */
  async look(): Promise<void> {
    const { registry, silence } = this.#options;
    const { suspects, agreed } = await this.#suspicions.consult(registry.silentFor(silence));
    this.#silent = suspects.length;
    this.#weigh(suspects.length);
    for (const seen of agreed) seen.silent = true;
  }

  /** Sees to those that are silent. @throws what the store throws */
  async act(): Promise<void> {
    if (this.#holdingBack) return;
    const { registry, silence, heartbeatIntervalMs } = this.#options;
    let full = false;
    for (const seen of registry.silentFor(silence + heartbeatIntervalMs * SPREAD)) {
      if (!seen.silent) continue;
      full = await this.#isFull();
      if (full) break;
      await this.#confirm(seen);
    }
    this.#noteFull(full);
  }

  #noteFull(full: boolean): void {
    if (full === this.#full) return;
    this.#full = full;
    const { concurrency, log } = this.#options;
    if (full) log.error({ concurrency }, "as many amphorae are being replaced as may be at a time: silent ones wait");
    else log.warn("no silent amphora waits to be replaced any more");
  }

  /** Decides whether the fault is more likely to be here. */
  #weigh(silent: number): void {
    const { registry, holdCount, holdShare, log } = this.#options;
    const many = silent >= holdCount && silent >= registry.size * holdShare;
    if (many === this.#holdingBack) return;
    this.#holdingBack = many;
    const amphorae = registry.size;
    if (many) log.error({ silent, amphorae }, "many amphorae are silent at once: none is replaced until they speak");
    else log.warn({ silent, amphorae }, "most amphorae speak again: those that do not are replaced as usual");
  }

  /** Whether as many amphorae as may be are being replaced. What never came up itself replaces others. */
  async #isFull(): Promise<boolean> {
    const { store, concurrency } = this.#options;
    const { count } = await store.db
      .selectFrom("amphorae")
      .select(({ fn }) => fn.countAll<number>().as("count"))
      .where("status", "=", "ERROR")
      .where("retiring", "=", true)
      .where("revision", "!=", NEVER_SERVED)
      .executeTakeFirstOrThrow();
    return Number(count) >= concurrency;
  }

  async #confirm(seen: Seen): Promise<void> {
    const { store, registry, client, log } = this.#options;
    const row = await findRow(store.db, amphora, seen.amphoraId);
    if (row === undefined || row.retiring) {
      registry.forget(seen.amphoraId);
      return;
    }
    // one that boots has its own limit
    if (row.status !== "ALLOCATED") return;
    const answers = await client.info(addressOf(row), PROBE_LIMIT).then(
      () => true,
      () => false,
    );
    if (answers) {
      this.#found++;
      this.#options.onFound(registry.heard(row.id));
      log.warn(
        { amphora: row.id, loadbalancer: row.loadbalancer_id },
        "silent, but it answers: its heartbeats get lost",
      );
      return;
    }
    const silentFor = registry.silenceOf(seen);
    if (silentFor < this.#options.silence * STILL_SEEN && (await this.#isSeenByPeer(row))) {
      log.warn({ amphora: row.id, loadbalancer: row.loadbalancer_id }, "silent, but its VRRP peer sees it serve");
      return;
    }
    await this.#replace(row, silentFor);
  }

  /**
   * Whether the other amphorae of the load balancer see it serve: its HAProxy answers them, or they hear a master that is
   * none of them. Only the master of a VRRP group can be heard.
   */
  async #isSeenByPeer(row: Amphora): Promise<boolean> {
    const { store, client } = this.#options;
    if (row.vrrp_id === null) return false;
    const group = await selectRows(store.db, amphora, { loadbalancer_id: row.loadbalancer_id });
    const peers = group.filter(({ id, status }) => id !== row.id && status === "ALLOCATED");
    const answers = await Promise.allSettled(peers.map((peer) => client.health(addressOf(peer))));
    const reports = answers.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    if (reports.some(({ replicas }) => replicas?.[row.id])) return true;
    if (reports.length < peers.length || reports.some(({ vrrp }) => vrrp?.state === "MASTER")) return false;
    return reports.some(({ vrrp }) => vrrp?.state === "BACKUP");
  }

  /** Writes down that another is to take its place: the reconciler does the rest, and again until it is done. */
  async #replace(row: Amphora, silentFor: number): Promise<void> {
    const { store, settling, registry, log } = this.#options;
    const seconds = Math.round(silentFor / 1000);
    const reason = `amphora ${row.id} has been silent for ${seconds} s: it is being replaced`;
    const isOurs = await store.transaction(async (trx) => {
      const lb = await lockLoadBalancer(store, trx, row.loadbalancer_id);
      const now = await findRow(trx, amphora, row.id);
      // another controller may have been quicker
      if (lb === undefined || lb.doomed || now === undefined || now.retiring) return false;
      await updateRow(trx, amphora, row.id, { retiring: true, status: "ERROR" });
      await updateRow(trx, loadBalancer, lb.id, { status_reason: reason });
      // at once: whoever dies in between leaves an amphora that nobody looks for any more
      await makeDue(trx, [lb.id]);
      return true;
    });
    registry.forget(row.id);
    if (!isOurs) return;
    this.#replaced++;
    log.error(
      { amphora: row.id, loadbalancer: row.loadbalancer_id, seconds },
      "silent, and it does not answer: replaced",
    );
    settling.wake();
  }
}
