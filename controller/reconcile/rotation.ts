/** Watches certificates: what has changed in the key manager is carried out, and what expires is told. */
import type { Logger } from "pino";
import { type Tls, TlsError } from "../certificates/tls.ts";
import type { LoadBalancer } from "../model/load-balancer.ts";
import type { TlsUse } from "../model/tls-references.ts";
import type { Store } from "../store/database.ts";
import { renewRevision, type TlsState } from "../store/load-balancers.ts";
import type { Settling } from "../store/settling.ts";
import { tlsUses } from "../store/tls-uses.ts";

/** A certificate that was replaced in the key manager is with its listeners within twice as long (ms). */
const INTERVAL = 30_000;
const DAY = 24 * 3600 * 1000;
/** Told once a day, from so many days before it expires. */
const WARN_DAYS = 14;

export interface RotationOptions {
  readonly store: Store;
  readonly tls: Tls;
  readonly settling: Settling;
  readonly log: Logger;
}

type Served = Pick<LoadBalancer, "id" | "project_id" | "revision"> & { readonly tls_state: NonNullable<TlsState> };

/** Several controllers may do so at a time: a revision is raised once. */
export class Rotation {
  readonly #options: RotationOptions;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> = Promise.resolve();
  /** load balancer -> the digest of certificates that it can't be given */
  readonly #unusable = new Map<string, string>();
  /** what was told today to expire */
  readonly #told = new Set<string>();
  #today = 0;

  constructor(options: RotationOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#looking = this.#looking.then(() =>
        this.look().catch((error: unknown) => {
          this.#options.log.error({ err: error }, "looking for changed certificates failed");
        }),
      );
    }, INTERVAL);
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    await this.#looking;
  }

  /** Looks once: a fixed number of statements where nothing has changed. @throws {Error} when the store can't be asked */
  async look(): Promise<void> {
    const { store, tls, settling } = this.#options;
    const { served, uses } = await store.snapshot(async (trx) => {
      const rows = await trx
        .selectFrom("load_balancers")
        .select(["id", "project_id", "revision", "tls_state"])
        .where("tls_state", "is not", null)
        .where("doomed", "=", false)
        .execute();
      const served = rows.flatMap(({ tls_state, ...row }) => (tls_state === null ? [] : [{ ...row, tls_state }]));
      return { served, uses: Map.groupBy(await tlsUses(trx), ({ loadBalancerId }) => loadBalancerId) };
    });
    const digests = await tls.digests(uses);
    const ids = new Set(served.map(({ id }) => id));
    for (const id of this.#unusable.keys()) if (!ids.has(id)) this.#unusable.delete(id);
    let raised = false;
    for (const row of served) {
      this.#tell(row);
      const digest = digests.get(row.id) ?? null;
      // what is missing stays as it is where it is served
      if (digest === null || digest === row.tls_state.wanted) continue;
      if (await this.#renew(row, uses.get(row.id) ?? [], digest)) raised = true;
    }
    if (raised) settling.wake();
  }

  /**
   * Only what can be used is carried out: of two secrets that belong together, one may be replaced before the other. With
   * a new authority and the former one's list of revoked certificates, OpenSSL would believe no client at all.
   */
  async #renew(row: Served, uses: readonly TlsUse[], digest: string): Promise<boolean> {
    const { store, tls, log } = this.#options;
    if (this.#unusable.get(row.id) === digest) return false;
    try {
      await tls.material(uses, row.project_id, true);
    } catch (error) {
      if (!(error instanceof TlsError)) throw error;
      this.#unusable.set(row.id, digest);
      log.warn({ loadbalancer: row.id, reason: error.message }, "a certificate was replaced by what can't be used");
      return false;
    }
    this.#unusable.delete(row.id);
    const raised = await renewRevision(store, row, { ...row.tls_state, wanted: digest });
    if (raised) log.info({ loadbalancer: row.id, revision: row.revision + 1 }, "certificates have changed");
    return raised;
  }

  #tell({ id: loadbalancer, tls_state }: Served): void {
    const now = Date.now();
    const today = Math.floor(now / DAY);
    if (today !== this.#today) this.#told.clear();
    this.#today = today;
    for (const { kind, id, attribute, expires_at } of tls_state.expiries) {
      const days = Math.floor((Date.parse(expires_at) - now) / DAY);
      const key = `${id} ${attribute} ${expires_at}`;
      if (days >= WARN_DAYS || this.#told.has(key)) continue;
      this.#told.add(key);
      const message = days < 0 ? "what TLS uses has expired" : "what TLS uses expires soon";
      this.#options.log.warn({ loadbalancer, [kind]: id, attribute, expires_at, days }, message);
    }
  }
}
