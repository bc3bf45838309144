/** Which listeners and pools use what of the key manager. */
import { sql } from "kysely";
import { parseReference } from "../model/secret-reference.ts";
import { type TlsUse, usesOfListener, usesOfPool } from "../model/tls-references.ts";
import type { Connection } from "./rows.ts";

/** Every use of load balancers that stay: two statements however many there are. */
export async function tlsUses(db: Connection): Promise<(TlsUse & { readonly loadBalancerId: string })[]> {
  const listeners = await db
    .selectFrom("listeners")
    .select([
      "id",
      "loadbalancer_id",
      "default_tls_container_ref",
      "sni_container_refs",
      "client_ca_tls_container_ref",
      "client_crl_container_ref",
    ])
    .where("protocol", "=", "TERMINATED_HTTPS")
    .where("doomed", "=", false)
    .execute();
  const pools = await db
    .selectFrom("pools")
    .select(["id", "loadbalancer_id", "tls_container_ref", "ca_tls_container_ref", "crl_container_ref"])
    .where("doomed", "=", false)
    .where("tls_enabled", "=", true)
    .where(sql`coalesce(tls_container_ref, ca_tls_container_ref, crl_container_ref)`, "is not", null)
    .execute();
  return [
    ...listeners.flatMap((row) =>
      usesOfListener(row, row.id).map((use) => ({ ...use, loadBalancerId: row.loadbalancer_id })),
    ),
    ...pools.flatMap((row) => usesOfPool(row, row.id).map((use) => ({ ...use, loadBalancerId: row.loadbalancer_id }))),
  ];
}

/** Those of some secrets or containers, by id. */
export async function usersOf(
  db: Connection,
  kind: "secret" | "container",
  ids: readonly string[],
): Promise<ReadonlyMap<string, readonly TlsUse[]>> {
  const wanted = new Set(ids);
  const uses = (await tlsUses(db)).flatMap((use) => {
    const named = parseReference(use.reference);
    const isWanted = named !== null && wanted.has(named.id) && (named.kind ?? kind) === kind;
    return isWanted ? [{ ...use, usedId: named.id }] : [];
  });
  return Map.groupBy(uses, ({ usedId }) => usedId);
}
