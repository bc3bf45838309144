/**
 * Makes reality match the store: takes load balancers that are due, compares, and drives their amphorae to the wanted
 * state. Any of it may be cut short at any instant; whoever takes the lease next finishes it.
 */
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { messageOf } from "../../agent/faults.ts";
import { RefusedError } from "../amphorae/client.ts";
import { tlsUsesOf } from "../amphorae/spec.ts";
import { type Tls, TlsError, type TlsMaterial } from "../certificates/tls.ts";
import { ComputeRefusedError } from "../drivers/compute.ts";
import type { NetworkDriver } from "../drivers/network.ts";
import { amphora } from "../model/amphora.ts";
import { type LoadBalancer, loadBalancer } from "../model/load-balancer.ts";
import { blueprintOf } from "../store/blueprint.ts";
import type { Store } from "../store/database.ts";
import { claim, giveBack, release, workLeft } from "../store/leases.ts";
import { fail, forget, OutdatedError, outrun, settle, type TlsState } from "../store/load-balancers.ts";
import { findRow, selectRows } from "../store/rows.ts";
import type { Settling } from "../store/settling.ts";
import { loadTree } from "../store/tree.ts";
import type { Amphorae } from "./amphorae.ts";
import { bringAbout, type Present, type Progress, type Reached, type Wanted } from "./bring-about.ts";
import { Lease } from "./lease.ts";
import { AheadError, type Serving } from "./serving.ts";

export interface ReconcilerOptions {
  readonly store: Store;
  readonly settling: Settling;
  readonly amphorae: Amphorae;
  readonly serving: Serving;
  readonly network: NetworkDriver;
  readonly tls: Tls;
  /** most load balancers worked on at a time */
  readonly concurrency: number;
  /** ms of failures after which PENDING becomes ERROR; the work goes on all the same */
  readonly pendingLimit: number;
  readonly log: Logger;
}

/** Looked for at least so often (ms): another process may have put the work there. */
const POLL = 1000;
/** After work was passed over, because it was locked in that moment (ms). */
const LOOK_AGAIN = 20;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
/** A spec that was refused is refused again, unless its amphora has changed; the same with a certificate. */
const REFUSED_PAUSE = 30_000;

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #owner = randomUUID();
  readonly #underWay = new Map<string, { promise: Promise<void>; lease: Lease }>();
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;
  #taking: Promise<void> | null = null;
  #again = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#options.settling.onWork(() => this.#take());
    this.#take();
  }

  /** Takes nothing more, and stops what is under way at the next step; another may go on with it at once. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#taking;
    for (const { lease } of this.#underWay.values()) lease.abandon("the controller is stopping");
    await Promise.all([...this.#underWay.values()].map(({ promise }) => promise));
    await giveBack(this.#options.store, this.#owner);
  }

  #take(): void {
    if (this.#stopped) return;
    if (this.#taking !== null) {
      this.#again = true;
      return;
    }
    this.#again = false;
    if (this.#timer !== null) clearTimeout(this.#timer);
    let pause = POLL;
    this.#taking = this.#claim()
      .then((left) => {
        if (left) pause = LOOK_AGAIN;
      })
      .catch((error: unknown) => this.#options.log.error({ err: error }, "looking for work failed"))
      .finally(() => {
        this.#taking = null;
        if (this.#stopped) return;
        if (this.#again) this.#take();
        else this.#timer = setTimeout(() => this.#take(), pause);
      });
  }

  /** @returns whether there was more, that could have been taken */
  async #claim(): Promise<boolean> {
    const { store, concurrency, log } = this.#options;
    const free = concurrency - this.#underWay.size;
    if (free <= 0) return false;
    const since = performance.now();
    const rows = await claim(store, this.#owner, free);
    for (const row of rows) {
      const lease = new Lease(store, this.#owner, row.id, since, log);
      const promise = this.#work(row, lease).finally(() => {
        this.#underWay.delete(row.id);
        this.#take();
      });
      this.#underWay.set(row.id, { promise, lease });
    }
    return rows.length < free && (await workLeft(store));
  }

  /** Never throws. */
  async #work(row: LoadBalancer, lease: Lease): Promise<void> {
    const { store, settling, log } = this.#options;
    const work: Progress = { row, lease };
    try {
      await this.#carryOut(work);
    } catch (error) {
      if (lease.signal.aborted)
        log.info({ loadbalancer: row.id, reason: String(lease.signal.reason) }, "left to another");
      else
        await this.#failed(work.row, error).catch((err: unknown) =>
          log.error({ err }, "writing a failure down failed"),
        );
    } finally {
      lease.end();
      await release(store, this.#owner, row.id).catch((err: unknown) =>
        log.warn({ err }, "giving a lease back failed"),
      );
      settling.settled(row.id);
    }
  }

  async #carryOut(work: Progress): Promise<void> {
    const { store, log } = this.#options;
    const { id } = work.row;
    const present = await this.#look(id);
    if (present === null) return;
    const { loadBalancer: row } = present.tree;
    work.row = row;
    if (row.doomed) {
      await this.#remove(present, work.lease);
      return;
    }
    // whoever serves goes on with what it has; where nobody does, one listener in vain is better than none at all
    const isServed = present.amphorae.some(({ status }) => status === "ALLOCATED");
    const tls = await this.#options.tls.material(tlsUsesOf(present.tree), row.project_id, isServed);
    const reached = await this.#reach({ ...present, tls }, work);
    if (reached === null) return;
    const { loadBalancer: after, lag } = reached;
    const { revision } = after;
    const retry = lag === null ? null : { reason: lag, tryAgainAt: Date.now() + pauseAfter(row.attempts) };
    if (retry !== null) log.warn({ loadbalancer: id, revision, ...retry }, "not on every amphora yet");
    if (!(await settle(store, after, stateOf(tls), retry)))
      log.info({ loadbalancer: id }, "changed meanwhile: once more");
    else if (row.provisioning_status !== "ACTIVE") log.info({ loadbalancer: id, revision }, "ACTIVE");
  }

  /** Null: it is to be done once more, with what there is then. */
  async #reach(present: Wanted, work: Progress): Promise<Reached | null> {
    const { store, amphorae, serving, log } = this.#options;
    const { loadBalancer: row } = present.tree;
    const about = { loadbalancer: row.id, revision: row.revision };
    try {
      return await bringAbout({ amphorae, serving }, present, work);
    } catch (error) {
      if (error instanceof OutdatedError) {
        log.info(about, "changed meanwhile: once more");
        return null;
      }
      if (!(error instanceof AheadError)) throw error;
      log.warn({ ...about, err: error }, "the store is behind: once more, ahead of it");
      await outrun(store, row.id, error.revision);
      return null;
    }
  }

  /** The load balancer and its parts as of one moment, if it is still ours. */
  #look(id: string): Promise<Present | null> {
    return this.#options.store.snapshot(async (trx) => {
      const row = await findRow(trx, loadBalancer, id);
      if (row === undefined || row.lease_owner !== this.#owner) return null;
      return {
        tree: await loadTree(trx, row),
        blueprint: await blueprintOf(trx, row),
        amphorae: await selectRows(trx, amphora, { loadbalancer_id: id }),
      };
    });
  }

  async #remove({ tree, amphorae: rows }: Present, lease: Lease): Promise<void> {
    const { amphorae, network, store, log } = this.#options;
    const { loadBalancer: row } = tree;
    for (const each of rows) {
      lease.check();
      await amphorae.remove(each);
    }
    if (await forget(store, row, (trx) => network.release(trx, row.id))) log.info({ loadbalancer: row.id }, "deleted");
  }

  /**
   * Writes down why, and when to try again: soon at first, then less and less often. Nothing when the load balancer has
   * changed meanwhile: what was wanted then is no reason against what is wanted now.
   */
  async #failed(row: LoadBalancer, error: unknown): Promise<void> {
    const { store, log, pendingLimit } = this.#options;
    const refused =
      error instanceof TlsError ||
      error instanceof ComputeRefusedError ||
      (error instanceof RefusedError && error.status === 422);
    const reason = messageOf(error);
    const pause = refused ? REFUSED_PAUSE : pauseAfter(row.attempts);
    const tooLong = Date.now() - (row.failing_since ?? Date.now()) > pendingLimit;
    const failure = { reason, tryAgainAt: Date.now() + pause, error: refused || tooLong };
    const about = { loadbalancer: row.id, revision: row.revision, err: error };
    if (await fail(store, row, failure)) log.error({ ...about, ...failure }, "carrying out a change failed");
    else log.warn(about, "carrying out a change failed, and it has changed meanwhile: once more");
  }
}

/** Soon at first, then less and less often (ms). */
function pauseAfter(attempts: number): number {
  return Math.min(FIRST_PAUSE * 2 ** attempts, LONGEST_PAUSE);
}

function stateOf({ digest, expiries }: TlsMaterial): TlsState {
  return digest === null ? null : { digest, wanted: digest, expiries: [...expiries] };
}
