/** What is known of amphorae that speak, and what follows from it for the store: statuses, counters, replacements. */
import type { Logger } from "pino";
import { countersOf, type Heartbeat } from "../../agent/protocol.ts";
import { type AgentClient, addressOf } from "../amphorae/client.ts";
import { amphora } from "../model/amphora.ts";
import { Rounds } from "../rounds.ts";
import type { Store } from "../store/database.ts";
import { findRow } from "../store/rows.ts";
import type { Settling } from "../store/settling.ts";
import { CounterBook } from "./counters.ts";
import { type Arrivals, Hearing } from "./hearing.ts";
import { Registry, type Seen } from "./registry.ts";
import { Reports } from "./reports.ts";
import { type SilenceState, SilenceWatch } from "./silence.ts";

/** Counters are written, and silence is looked for, at most so often (ms). */
const ROUND_INTERVAL = 1000;
/** Counters for which a heartbeat has no room are fetched at most so often (ms). */
const COUNT_INTERVAL = 10_000;
/** An amphora that one controller misses may be heard by another, which has so many rounds to say so. */
const SILENT_ROUNDS = 3;
/** New amphorae are looked for so often (ms): one that never speaks is missed too. */
const EXPECT_INTERVAL = 15_000;

export interface HealthOptions {
  readonly store: Store;
  readonly client: Pick<AgentClient, "health" | "info" | "stats">;
  readonly settling: Settling;
  readonly heartbeatIntervalMs: number;
  /** ms of silence after which an amphora is suspected */
  readonly silence: number;
  readonly holdCount: number;
  readonly holdShare: number;
  readonly failoverConcurrency: number;
  /** how many heartbeats came, and how many of them were lost on this machine before they could be read */
  readonly arrivals: () => Promise<Arrivals>;
  /** called with the id of an amphora that speaks, but is no longer in the store */
  readonly onZombie: (amphoraId: string) => void;
  readonly log: Logger;
}

export class Health {
  readonly #options: HealthOptions;
  readonly #hearing: Hearing;
  readonly #registry: Registry;
  readonly #counters = new CounterBook();
  readonly #reports: Reports;
  readonly #silence: SilenceWatch;
  /** whether so few heartbeats are lost that silence means something */
  #hears = true;
  #expectedAt = 0;
  readonly #rounds = new Rounds(ROUND_INTERVAL, () => this.#oneRound());

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#hearing = new Hearing(options.arrivals);
    this.#registry = new Registry(() => this.#hearing.now());
    this.#reports = new Reports({ ...options, registry: this.#registry });
    this.#silence = new SilenceWatch({
      ...options,
      registry: this.#registry,
      rounds: SILENT_ROUNDS,
      onFound: (seen) => this.#ask(seen),
      concurrency: options.failoverConcurrency,
    });
  }

  /** Begins to write, and expects to hear of every amphora there is: one that stays silent is noticed. */
  async start(): Promise<void> {
    await this.#expect();
    this.#hearing.start();
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    this.#hearing.stop();
    await this.#rounds.stop();
  }

  get silence(): SilenceState {
    return this.#silence.state;
  }

  /** The seals' keys of those amphorae that there are. */
  async keysOf(amphoraIds: readonly string[]): Promise<Map<string, Buffer>> {
    const rows = await this.#options.store.db
      .selectFrom("amphorae")
      .select(["id", "heartbeat_key"])
      .where("id", "in", amphoraIds)
      .execute();
    return new Map(rows.map((row) => [row.id, Buffer.from(row.heartbeat_key, "hex")]));
  }

  /** Takes in a heartbeat that is believed. */
  heard({ amphoraId, body }: Heartbeat): void {
    const seen = this.#registry.heard(amphoraId);
    seen.spoke = true;
    if (seen.silenceTold) {
      // what was written down meanwhile is to be worked out again
      seen.silenceTold = false;
      seen.digest = "";
    }
    if (body.stats !== undefined) this.#counters.take(seen, body.stats);
    else if (Date.now() - seen.countedAt > COUNT_INTERVAL) this.#count(seen);
    seen.wanted = body.digest;
    this.#reports.want(seen);
  }

  /** Fetches the counters of one whose heartbeats have no room for them. */
  #count(seen: Seen): void {
    const { store, client, log } = this.#options;
    seen.countedAt = Date.now();
    findRow(store.db, amphora, seen.amphoraId)
      .then(async (row) => {
        if (row === undefined) return;
        const { listeners } = await client.stats(addressOf(row));
        this.#counters.take(
          seen,
          Object.entries(listeners).map(([id, each]) => countersOf(id, each)),
        );
      })
      .catch((error: unknown) => log.warn({ amphora: seen.amphoraId, err: error }, "fetching counters failed"));
  }

  /** Has the report fetched of one that does not tell when it changes. */
  #ask(seen: Seen): void {
    seen.wanted = `asked for at ${Date.now()}`;
    this.#reports.want(seen);
  }

  async #expect(): Promise<void> {
    const rows = await this.#options.store.db
      .selectFrom("amphorae")
      .select(["id", "loadbalancer_id"])
      .where("status", "=", "ALLOCATED")
      .execute();
    for (const { id, loadbalancer_id } of rows) this.#registry.expect(id, loadbalancer_id);
    this.#expectedAt = Date.now();
  }

  #note(hears: boolean): void {
    if (hears === this.#hears) return;
    this.#hears = hears;
    const { log } = this.#options;
    if (hears) log.warn("no more heartbeats are lost: amphorae that are silent are seen to");
    else log.error("heartbeats are lost on this machine, for it is overloaded: no amphora is taken for silent");
  }

  /** Writes counters, says of load balancers whose amphorae fell silent that they did, and sees to those. */
  async #oneRound(): Promise<void> {
    const { store, log } = this.#options;
    const attempt = (what: string, work: () => Promise<void>) =>
      work().then(
        () => true,
        (error: unknown) => {
          log.warn({ err: error }, `${what} failed`);
          return false;
        },
      );
    await attempt("writing counters", () => this.#counters.flush(store));
    await attempt("looking for lost heartbeats", async () => {
      this.#note(await this.#hearing.check(this.#options.silence));
    });
    if (Date.now() - this.#expectedAt > EXPECT_INTERVAL) await attempt("looking for amphorae", () => this.#expect());
    if (!this.#hears) return;
    let told = await attempt("looking for silent amphorae", () => this.#silence.look());
    for (const seen of this.#registry.silent()) {
      if (seen.silenceTold) continue;
      seen.silenceTold = await attempt("writing statuses", async () => {
        if (seen.loadBalancerId !== null) await this.#reports.write(seen.loadBalancerId);
      });
      told &&= seen.silenceTold;
    }
    // one that is replaced is forgotten: what its silence means is written down before
    if (told) await attempt("looking after silent amphorae", () => this.#silence.act());
  }
}
