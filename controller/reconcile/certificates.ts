/** Certificates of amphorae, and the controller's own: renewed at half their life, and when an authority is replaced. */
import type { Logger } from "pino";
import type { Authorities } from "../amphorae/authorities.ts";
import { type AgentClient, addressOf, ExpiredError } from "../amphorae/client.ts";
import { type Amphora, amphora } from "../model/amphora.ts";
import { dropFormer, promoteNext } from "../store/authorities.ts";
import type { Store } from "../store/database.ts";
import { timestamp, updateRow } from "../store/rows.ts";

const INTERVAL = 3000;
/** A controller that took a certificate on and does not get it done has died (ms). */
const BUSY_LIMIT = 60_000;
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

type Due = Pick<Amphora, "id" | "lb_network_ip" | "loadbalancer_id">;

/** Several controllers may look at a time: each certificate is renewed by one. */
export class CertificateWatch {
  readonly #options: CertificateWatchOptions;
  /** until when nothing is tried, and how long the last pause was */
  readonly #pauses = new Map<string, { until: number; length: number }>();
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> | null = null;
  #stopped = false;
  #identityUntil = 0;
  #warnedOn = 0;

  constructor(options: CertificateWatchOptions) {
    this.#options = options;
  }

  /** Looks once, so that agents can be spoken to, and then again and again. */
  async start(): Promise<void> {
    await this.#identify();
    this.#timer = setInterval(() => {
      this.#looking ??= this.look()
        .catch((error: unknown) => this.#options.log.warn({ err: error }, "looking after certificates failed"))
        .finally(() => {
          this.#looking = null;
        });
    }, INTERVAL);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#looking;
  }

  /** Renews what is due, and goes a step on in replacing the authority. @throws what the store throws */
  async look(): Promise<void> {
    await this.#identify();
    this.#warn();
    const due = await this.#due();
    const now = Date.now();
    const ready = due.filter(({ id }) => (this.#pauses.get(id)?.until ?? 0) <= now);
    for (let i = 0; i < ready.length && !this.#stopped; i += AT_ONCE) {
      await Promise.all(ready.slice(i, i + AT_ONCE).map((row) => this.#renew(row)));
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

  /** Those in use whose certificate is at half its life, or is not of the authorities that there are now. */
  #due(): Promise<Due[]> {
    const { store, authorities, days } = this.#options;
    const half = timestamp(Date.now() + (days * DAY) / 2);
    return store.db
      .selectFrom("amphorae")
      .select(["id", "lb_network_ip", "loadbalancer_id"])
      .where("status", "=", "ALLOCATED")
      .where("retiring", "=", false)
      .where((eb) =>
        eb.or([
          eb("authorities", "is", null),
          eb("authorities", "!=", authorities.stamp),
          eb("cert_expiration", "is", null),
          eb("cert_expiration", "<", half),
        ]),
      )
      .where((eb) => eb.or([eb("cert_busy", "=", false), eb("cert_busy_since", "<", Date.now() - BUSY_LIMIT)]))
      .execute();
  }

  /** Never throws, unless the store does. */
  async #renew(row: Due): Promise<void> {
    const { store, authorities, client, days, log } = this.#options;
    if (!(await this.#take(row.id))) return;
    const { stamp } = authorities;
    const identity = await authorities.issueAmphora(row.id, days);
    const about = { amphora: row.id, loadbalancer: row.loadbalancer_id };
    try {
      await client.putCertificate(addressOf(row), identity.bundle).catch(async (error: unknown) => {
        if (!(error instanceof ExpiredError)) throw error;
        log.warn(about, "its certificate has expired: it is taken back with a new one");
        await client.takeBack(addressOf(row), identity.bundle);
      });
    } catch (error) {
      await updateRow(store.db, amphora, row.id, { cert_busy: false });
      const length = Math.min((this.#pauses.get(row.id)?.length ?? FIRST_PAUSE / 2) * 2, LONGEST_PAUSE);
      this.#pauses.set(row.id, { until: Date.now() + length, length });
      log.warn({ ...about, err: error }, "renewing its certificate failed");
      return;
    }
    this.#pauses.delete(row.id);
    const cert_expiration = timestamp(identity.expires.getTime());
    await updateRow(store.db, amphora, row.id, { cert_busy: false, cert_expiration, authorities: stamp });
    log.info({ ...about, cert_expiration }, "certificate renewed");
  }

  /** @returns whether it is this controller that renews it */
  async #take(id: string): Promise<boolean> {
    const now = Date.now();
    const { numUpdatedRows } = await this.#options.store.db
      .updateTable("amphorae")
      .set({ cert_busy: true, cert_busy_since: now })
      .where("id", "=", id)
      .where("status", "=", "ALLOCATED")
      .where((eb) => eb.or([eb("cert_busy", "=", false), eb("cert_busy_since", "<", now - BUSY_LIMIT)]))
      .executeTakeFirstOrThrow();
    return numUpdatedRows > 0n;
  }

  /** When every amphora has what the present step asks for, the next one begins. */
  async #goOn(): Promise<void> {
    const { store, authorities, log, formerFor = FORMER_FOR } = this.#options;
    const next = authorities.rows.find(({ state }) => state === "next");
    const former = authorities.rows.find(({ state }) => state === "former");
    if (next === undefined && former === undefined) return;
    const { count } = await store.db
      .selectFrom("amphorae")
      .select(({ fn }) => fn.countAll<number>().as("count"))
      .where("status", "in", ["ALLOCATED", "BOOTING"])
      .where("retiring", "=", false)
      .where((eb) => eb.or([eb("authorities", "is", null), eb("authorities", "!=", authorities.stamp)]))
      .executeTakeFirstOrThrow();
    if (Number(count) > 0) return;
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
