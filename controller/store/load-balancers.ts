/** The rows that decide about a load balancer: its lock, its revision, and the parts that a change concerns. */
import { type RawBuilder, sql } from "kysely";
import { type LoadBalancer, loadBalancer } from "../model/load-balancer.ts";
import { PARTS } from "../model/resources.ts";
import type { Store, Trx } from "./database.ts";
import { type Connection, lockRow, timestamp, untyped } from "./rows.ts";

/** The load balancer's row, which nobody else changes until the transaction ends. */
export async function lockLoadBalancer(store: Store, trx: Trx, id: string): Promise<LoadBalancer | undefined> {
  return lockRow(store, trx, loadBalancer, id, "update");
}

/** Says that the wanted state has changed: the reconciler is to carry it out now. */
export async function raiseRevision(
  trx: Trx,
  id: string,
  status: "PENDING_UPDATE" | "PENDING_DELETE" = "PENDING_UPDATE",
): Promise<void> {
  await trx
    .updateTable("load_balancers")
    .set({
      provisioning_status: status,
      revision: sql`revision + 1`,
      due_at: Date.now(),
      failing_since: null,
      attempts: 0,
    })
    .where("id", "=", id)
    .execute();
}

/**
 * Asks the reconciler to compare a load balancer with its amphorae, though nothing was asked of it. One that works on it
 * at this moment leaves it due.
 */
export async function makeDue(connection: Connection, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await connection.updateTable("load_balancers").set({ due_at: Date.now() }).where("id", "in", ids).execute();
}

/** When it is due once its round is over; who made it due since `row` was read is not forgotten for that. */
function dueAfter(row: LoadBalancer, then: number | null): RawBuilder<number | null> {
  return sql`case when due_at = ${row.due_at} then ${then} else due_at end`;
}

/** Every row that a load balancer consists of is wanted gone. */
export async function doomEverything(trx: Trx, id: string): Promise<void> {
  for (const { table } of PARTS) {
    await untyped(trx)
      .updateTable(table)
      .set({ doomed: true, provisioning_status: "PENDING_DELETE" })
      .where("loadbalancer_id", "=", id)
      .execute();
  }
}

/** What tells the certificates that a load balancer's amphorae were given; null: none. */
export type TlsState = LoadBalancer["tls_state"];

/**
 * Has the reconciler carry out what is wanted once more, since what it is made of has changed elsewhere. It stays ACTIVE:
 * nobody has asked for a change, and whoever wants one need not wait. Nothing happens when the load balancer has moved on.
 * @param tls what is served, and what is wanted @returns whether it did so
 */
export async function renewRevision(
  store: Store,
  { id, revision }: Pick<LoadBalancer, "id" | "revision">,
  tls: NonNullable<TlsState>,
): Promise<boolean> {
  const done = await store.db
    .updateTable("load_balancers")
    .set({
      revision: sql`revision + 1`,
      due_at: Date.now(),
      failing_since: null,
      attempts: 0,
      tls_state: JSON.stringify(tls),
    })
    .where("id", "=", id)
    .where("revision", "=", revision)
    .where("provisioning_status", "in", ["ACTIVE", "ERROR"])
    .executeTakeFirst();
  return done.numUpdatedRows > 0n;
}

/** What is left to do though the revision is in force, and when. */
export interface Retry {
  readonly reason: string;
  readonly tryAgainAt: number;
}

/**
 * Writes down that the revision is in force: what was pending is ACTIVE, what was doomed is gone.
 * @param tls what its amphorae were given @param retry null: everything is done
 * @returns false when the load balancer has changed meanwhile, or the lease is another's; then nothing was written
 */
export async function settle(
  store: Store,
  row: LoadBalancer,
  tls: TlsState = null,
  retry: Retry | null = null,
): Promise<boolean> {
  return store.transaction(async (trx) => {
    const done = await trx
      .updateTable("load_balancers")
      .set({
        provisioning_status: "ACTIVE",
        status_reason: retry?.reason ?? null,
        due_at: dueAfter(row, retry?.tryAgainAt ?? null),
        lease_owner: null,
        lease_until: null,
        failing_since: null,
        attempts: retry === null ? 0 : row.attempts + 1,
        failover: false,
        tls_state: tls === null ? null : JSON.stringify(tls),
        ...(row.provisioning_status === "PENDING_UPDATE" ? { updated_at: timestamp() } : {}),
      })
      .where("id", "=", row.id)
      .where("revision", "=", row.revision)
      .where("lease_owner", "=", row.lease_owner)
      .executeTakeFirst();
    if (done.numUpdatedRows === 0n) return false;
    const { doomed, pending } = await unsettled(trx, row.id);
    if (doomed.has("listeners")) {
      const gone = trx
        .selectFrom("listeners")
        .select("id")
        .where("loadbalancer_id", "=", row.id)
        .where("doomed", "=", true);
      await trx.deleteFrom("listener_statistics").where("listener_id", "in", gone).execute();
    }
    for (const { table } of PARTS.toReversed().filter((each) => doomed.has(each.table))) {
      await untyped(trx).deleteFrom(table).where("loadbalancer_id", "=", row.id).where("doomed", "=", true).execute();
    }
    for (const table of pending) {
      await untyped(trx)
        .updateTable(table)
        .set({ provisioning_status: "ACTIVE" })
        .where("loadbalancer_id", "=", row.id)
        .where("provisioning_status", "!=", "ACTIVE")
        .execute();
    }
    return true;
  });
}

interface Unsettled {
  /** tables with parts to remove */
  readonly doomed: ReadonlySet<string>;
  /** tables with parts that stay */
  readonly pending: ReadonlySet<string>;
}

/** Where a load balancer has something to settle, in one query: a change concerns few of the tables. */
async function unsettled(trx: Trx, id: string): Promise<Unsettled> {
  const [first, ...others] = PARTS.flatMap(({ table }) => {
    const parts = untyped(trx).selectFrom(table).where("loadbalancer_id", "=", id);
    const named = (kind: string) => [sql.lit(table).as("name"), sql.lit(kind).as("kind")];
    return [
      parts.select(named("doomed")).where("doomed", "=", true),
      parts.select(named("pending")).where("doomed", "=", false).where("provisioning_status", "!=", "ACTIVE"),
    ];
  });
  const rows = (await first?.union(others).execute()) ?? [];
  const having = (kind: string) => new Set(rows.filter((row) => row.kind === kind).map(({ name }) => name));
  return { doomed: having("doomed"), pending: having("pending") };
}

/**
 * Removes a load balancer whose amphorae are gone. False as for `settle`.
 * @param release gives back what it holds elsewhere, in the same transaction
 */
export async function forget(store: Store, row: LoadBalancer, release: (trx: Trx) => Promise<void>): Promise<boolean> {
  return store.transaction(async (trx) => {
    const present = await lockLoadBalancer(store, trx, row.id);
    if (present === undefined || present.revision !== row.revision) return false;
    if (present.lease_owner === null || present.lease_owner !== row.lease_owner) return false;
    const listeners = trx.selectFrom("listeners").select("id").where("loadbalancer_id", "=", row.id);
    await trx.deleteFrom("listener_statistics").where("listener_id", "in", listeners).execute();
    for (const table of [...PARTS.toReversed().map((part) => part.table), "amphorae"]) {
      await untyped(trx).deleteFrom(table).where("loadbalancer_id", "=", row.id).execute();
    }
    await release(trx);
    await trx.deleteFrom("load_balancers").where("id", "=", row.id).execute();
    return true;
  });
}

/**
 * Takes a revision that no amphora has seen. One may be ahead of the store: when that was put back from a backup.
 * @param seen the revision that an amphora runs
 */
export async function outrun(store: Store, id: string, seen: number): Promise<void> {
  await store.db
    .updateTable("load_balancers")
    .set({ revision: seen + 1, due_at: Date.now() })
    .where("id", "=", id)
    .where("revision", "<=", seen)
    .execute();
}

/** The load balancer has been changed while its revision was carried out, or another has taken it over. */
export class OutdatedError extends Error {
  override readonly name = "OutdatedError";
}

/**
 * Takes the next revision for a change that nobody asked for: which amphorae there are, and what each of them is.
 * @throws {OutdatedError} then nothing was written
 */
export async function advance(trx: Trx, row: LoadBalancer): Promise<LoadBalancer> {
  const done = await trx
    .updateTable("load_balancers")
    .set({ revision: row.revision + 1 })
    .where("id", "=", row.id)
    .where("revision", "=", row.revision)
    .where("lease_owner", "=", row.lease_owner)
    .executeTakeFirst();
  if (done.numUpdatedRows === 0n) throw new OutdatedError(`load balancer ${row.id} has changed meanwhile`);
  return { ...row, revision: row.revision + 1 };
}

export interface Failure {
  readonly reason: string;
  /** ms since 1970 */
  readonly tryAgainAt: number;
  /** whether to give up waiting and say ERROR; the work goes on all the same */
  readonly error: boolean;
}

/** Writes down that carrying out the revision failed. False as for `settle`. */
export async function fail(store: Store, row: LoadBalancer, failure: Failure): Promise<boolean> {
  return store.transaction(async (trx) => {
    const done = await trx
      .updateTable("load_balancers")
      .set({
        status_reason: failure.reason,
        due_at: dueAfter(row, failure.tryAgainAt),
        lease_owner: null,
        lease_until: null,
        failing_since: row.failing_since ?? Date.now(),
        attempts: row.attempts + 1,
        ...(failure.error ? { provisioning_status: "ERROR" as const } : {}),
      })
      .where("id", "=", row.id)
      .where("revision", "=", row.revision)
      .where("lease_owner", "=", row.lease_owner)
      .executeTakeFirst();
    if (done.numUpdatedRows === 0n) return false;
    if (!failure.error) return true;
    for (const { table } of PARTS) {
      await untyped(trx)
        .updateTable(table)
        .set({ provisioning_status: "ERROR" })
        .where("loadbalancer_id", "=", row.id)
        .where("provisioning_status", "!=", "ACTIVE")
        .execute();
    }
    return true;
  });
}
