/** Which amphorae are to be given another certificate, and who gives it: a claim in the amphora's row, for a while. */
import type { ExpressionBuilder } from "kysely";
import type { Amphora } from "../model/amphora.ts";
import type { Store } from "./database.ts";
import { timestamp } from "./rows.ts";
import type { Tables } from "./tables.ts";

/** A controller that took a certificate on and does not get it done has died (ms). */
export const BUSY_LIMIT = 60_000;

export type DueAmphora = Pick<Amphora, "id" | "lb_network_ip" | "loadbalancer_id">;

/** What amphorae are to have. */
export interface Wanted {
  /** of the authorities that there are now */
  readonly stamp: string;
  /** certificates that expire before are at half their life, ms since 1970 */
  readonly halfLife: number;
}

/** Those in use that do not have what is wanted, and that nobody sees to. Silent ones are left alone. */
export function dueCertificates(store: Store, wanted: Wanted): Promise<DueAmphora[]> {
  return due(store, wanted).select(["id", "lb_network_ip", "loadbalancer_id"]).orderBy("cert_expiration").execute();
}

/** Whether every amphora that serves, or is about to, has what these authorities ask for. */
export async function allHave(store: Store, stamp: string): Promise<boolean> {
  const one = await store.db
    .selectFrom("amphorae")
    .select("id")
    .where("status", "in", ["ALLOCATED", "BOOTING"])
    .where("retiring", "=", false)
    .where((eb) => lacksAuthorities(eb, stamp))
    .limit(1)
    .executeTakeFirst();
  return one === undefined;
}

/** Claims one that is due still. @returns since when, which tells the claim from others; null: it is not to be had */
export async function claimCertificate(store: Store, id: string, wanted: Wanted): Promise<number | null> {
  const now = Date.now();
  const free = due(store, wanted).select("id").where("id", "=", id);
  const { numUpdatedRows } = await store.db
    .updateTable("amphorae")
    .set({ cert_busy: true, cert_busy_since: now })
    .where("id", "in", free)
    // asked of the row itself too: of two that wait for it, the second sees what the first has made of it
    .where(isFree)
    .where(lacks(wanted))
    .executeTakeFirstOrThrow();
  return numUpdatedRows > 0n ? now : null;
}

/**
 * Ends a claim; with what the amphora has now, if it was given anything. Where the claim was lost, another may have given
 * it something else before: then it is due once more.
 * @returns whether the claim held
 */
export async function endClaim(
  store: Store,
  id: string,
  since: number,
  given: { readonly stamp: string; readonly expires: Date } | null,
): Promise<boolean> {
  const has = given === null ? {} : { authorities: given.stamp, cert_expiration: timestamp(given.expires.getTime()) };
  const { numUpdatedRows } = await store.db
    .updateTable("amphorae")
    .set({ cert_busy: false, cert_busy_since: null, ...has })
    .where("id", "=", id)
    .where("cert_busy_since", "=", since)
    .executeTakeFirstOrThrow();
  if (numUpdatedRows > 0n) return true;
  if (given !== null) await store.db.updateTable("amphorae").set({ authorities: null }).where("id", "=", id).execute();
  return false;
}

function due(store: Store, wanted: Wanted) {
  return store.db
    .selectFrom("amphorae")
    .where("status", "=", "ALLOCATED")
    .where("retiring", "=", false)
    .where("suspected_at", "is", null)
    .where(lacks(wanted))
    .where(isFree);
}

type Amphorae = ExpressionBuilder<Tables, "amphorae">;

function isFree(eb: Amphorae) {
  return eb.or([eb("cert_busy", "=", false), eb("cert_busy_since", "<", Date.now() - BUSY_LIMIT)]);
}

function lacks({ stamp, halfLife }: Wanted) {
  return (eb: Amphorae) =>
    eb.or([
      lacksAuthorities(eb, stamp),
      eb("cert_expiration", "is", null),
      eb("cert_expiration", "<", timestamp(halfLife)),
    ]);
}

function lacksAuthorities(eb: Amphorae, stamp: string) {
  return eb.or([eb("authorities", "is", null), eb("authorities", "!=", stamp)]);
}
