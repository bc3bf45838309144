/** Certificates of amphorae, and the controller's own: renewed at half their life, and when an authority is replaced. */
import type { Logger } from "pino";
import type { Authorities } from "../amphorae/authorities.ts";
import { type AgentClient, addressOf, ExpiredError } from "../amphorae/client.ts";
import { Rounds } from "../rounds.ts";
import { dropFormer, promoteNext } from "../store/authorities.ts";
import {
  allHave,
  BUSY_LIMIT,
  claimCertificate,
  type DueAmphora,
  dueCertificates,
  endClaim,
  type Wanted,
} from "../store/certificates.ts";
import type { Store } from "../store/database.ts";

const INTERVAL = 3000;
/** Nothing is put on an amphora by who claimed it longer ago: a call and another take 9 s (ms). */
const CLAIM_LIMIT = BUSY_LIMIT - 15_000;
/** So many amphorae at a time. */
const AT_ONCE = 8;
/** Tries again after so long, doubled each time, up to the longest (ms). */
const [FIRST_PAUSE, LONGEST_PAUSE] = [5000, 300_000];
/** Controllers show what the new authority signed within this: until then nobody forgets the former one (ms). */
const FORMER_FOR = 60_000;
const DAY = 24 * 3600 * 1000;
const CONTROLLER_DAYS = 365;
/** Told once a day, from so many days before the authority expires. */
const WARN_DAYS = 90;

export interface CertificateWatchOptions {
  readonly store: Store;
  readonly authorities: Authorities;
  readonly client: Pick<AgentClient, "putCertificate" | "takeBack" | "useIdentity">;
  /** how long an amphora's certificate is valid */
  readonly days: number;
  /** ms for which a former authority stays trusted at least */
  readonly formerFor?: number;
  readonly log: Logger;
}

/** Several controllers may look at a time: each certificate is renewed by one. */
export class CertificateWatch {
  readonly #options: CertificateWatchOptions;
  /** until when nothing is tried, and how long the last pause was */
  readonly #pauses = new Map<string, { until: number; length: number }>();
  readonly #rounds: Rounds;
  #stopped = false;
  #identityUntil = 0;
  #warnedOn = 0;

  constructor(options: CertificateWatchOptions) {
    this.#options = options;
    this.#rounds = new Rounds(INTERVAL, async () => {
      await this.look().catch((error: unknown) =>
        options.log.warn({ err: error }, "looking after certificates failed"),
      );
    });
  }

  /** Looks once, so that agents can be spoken to, and then again and again. */
  async start(): Promise<void> {
    await this.#identify();
    this.#rounds.start();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#rounds.stop();
  }

  /** Renews what is due, and goes a step on in replacing the authority. @throws what the store throws */
  async look(): Promise<void> {
    await this.#identify();
    this.#warn();
    const { store, authorities, days } = this.#options;
    const now = Date.now();
    const wanted = { stamp: authorities.stamp, halfLife: now + (days * DAY) / 2 };
    const due = await dueCertificates(store, wanted);
    const ready = due.filter(({ id }) => (this.#pauses.get(id)?.until ?? 0) <= now);
    for (let i = 0; i < ready.length && !this.#stopped; i += AT_ONCE) {
      await Promise.all(ready.slice(i, i + AT_ONCE).map((row) => this.#renew(row, wanted)));
    }
    await this.#goOn();
  }

  /** What the controller itself shows: another one when the authorities have changed, or at half its life. */
  async #identify(): Promise<void> {
    const { authorities, client } = this.#options;
    const changed = await authorities.refresh();
    if (!changed && Date.now() < this.#identityUntil) return;
    client.useIdentity((await authorities.issueController(CONTROLLER_DAYS)).bundle);
    this.#identityUntil = Date.now() + (CONTROLLER_DAYS * DAY) / 2;
  }

  /** Never throws, unless the store does. */
  async #renew(row: DueAmphora, wanted: Wanted): Promise<void> {
    const { store, authorities, client, days, log } = this.#options;
    const began = performance.now();
    const since = await claimCertificate(store, row.id, wanted);
    if (since === null) return;
    await authorities.refresh();
    // a process that was stopped finds out here: it must not take an amphora back to what others have gone on from
    if (authorities.stamp !== wanted.stamp || performance.now() - began > CLAIM_LIMIT) {
      await endClaim(store, row.id, since, null);
      return;
    }
    const identity = await authorities.issueAmphora(row.id, days);
    const about = { amphora: row.id, loadbalancer: row.loadbalancer_id };
    try {
      await client.putCertificate(addressOf(row), identity.bundle).catch(async (error: unknown) => {
        if (!(error instanceof ExpiredError)) throw error;
        log.warn(about, "its certificate has expired: it is taken back with a new one");
        await client.takeBack(addressOf(row), identity.bundle);
      });
    } catch (error) {
      await endClaim(store, row.id, since, null);
      const length = Math.min((this.#pauses.get(row.id)?.length ?? FIRST_PAUSE / 2) * 2, LONGEST_PAUSE);
      this.#pauses.set(row.id, { until: Date.now() + length, length });
      log.warn({ ...about, err: error }, "renewing its certificate failed");
      return;
    }
    this.#pauses.delete(row.id);
    const { expires } = identity;
    const held = await endClaim(store, row.id, since, { stamp: wanted.stamp, expires });
    log.info({ ...about, expires: expires.toISOString(), held }, "certificate renewed");
  }

  /** When every amphora has what the present step asks for, the next one begins. */
  async #goOn(): Promise<void> {
    const { store, authorities, log, formerFor = FORMER_FOR } = this.#options;
    const next = authorities.rows.find(({ state }) => state === "next");
    const former = authorities.rows.find(({ state }) => state === "former");
    if (next === undefined && former === undefined) return;
    if (!(await allHave(store, authorities.stamp))) return;
    if (next !== undefined) {
      if (await promoteNext(store)) log.warn("every amphora trusts the next authority: it signs from now on");
    } else if (former !== undefined && former.since < Date.now() - formerFor) {
      if (await dropFormer(store)) log.warn("nobody shows what the former authority signed: it is forgotten");
    }
  }

  #warn(): void {
    const { authorities, log } = this.#options;
    const today = Math.floor(Date.now() / DAY);
    const days = Math.floor((authorities.expires.getTime() - Date.now()) / DAY);
    if (days >= WARN_DAYS || this.#warnedOn === today) return;
    this.#warnedOn = today;
    log.warn({ days }, "the certificate authority expires: replace it with amphora-controller ca rotate");
  }
}
