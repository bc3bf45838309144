import { isIpvs } from "../../../templates/fields.ts";
import { persistenceFault } from "../../../templates/spec.ts";
import { listener } from "../../model/listener.ts";
import { type Pool, pool } from "../../model/pool.ts";
import { usesOfPool } from "../../model/tls-references.ts";
import type { Connection } from "../../store/rows.ts";
import type { Change } from "../change.ts";
import { ApiError, invalidField } from "../errors.ts";
import type { PartRules } from "./rules.ts";
import { checkProtocols, relatedIds, requireRow, requireStaying } from "./shared.ts";
import { checkCertificates, checkCiphers } from "./tls.ts";

/** What a pool whose members are spoken to over TLS has unless it was set. */
const TLS_DEFAULTS = { tls_versions: ["TLSv1.2", "TLSv1.3"] } as const satisfies Partial<Record<keyof Pool, unknown>>;
/** What says how members are spoken to over TLS; false or null where they are not. */
const TLS_ATTRIBUTES = [
  "tls_enabled",
  "tls_container_ref",
  "ca_tls_container_ref",
  "tls_ciphers",
  "tls_versions",
  "alpn_protocols",
] as const satisfies readonly (keyof Pool)[];

export const poolRules: PartRules<typeof pool> = {
  resource: pool,

  async home(db, given) {
    if (given.listener_id) return (await requireRow(db, listener, given.listener_id)).loadbalancer_id;
    if (given.loadbalancer_id) return given.loadbalancer_id;
    throw new ApiError(400, "Must provide at least one of: loadbalancer_id, listener_id");
  },

  async precheck(values, circumstances) {
    await checkCertificates(usesOfPool(values, ""), circumstances);
  },

  async create(change, row, given) {
    if (given.loadbalancer_id !== undefined && given.loadbalancer_id !== change.loadBalancer.id) {
      throw invalidField("listener_id", given.listener_id, "The listener belongs to another load balancer.");
    }
    if (given.listener_id) {
      const target = await requireStaying(change, listener, given.listener_id);
      if (target.default_pool_id !== null) {
        throw new ApiError(409, `Listener ${target.id} already has a default pool: ${target.default_pool_id}.`);
      }
      checkProtocols(target.protocol, row.protocol);
    }
    return checked(row);
  },

  async created(change, row, given) {
    const { listener_id: id } = given;
    if (id) change.later(() => change.update(listener, id, { default_pool_id: row.id }));
  },

  async update(_change, row, patch) {
    return checked({ ...row, ...patch });
  },

  async remove({ trx }, row) {
    const policy = await trx
      .selectFrom("l7policies")
      .select("id")
      .where("redirect_pool_id", "=", row.id)
      .where("doomed", "=", false)
      .executeTakeFirst();
    if (policy !== undefined) {
      throw new ApiError(409, `Pool ${row.id} is in use by L7 policy ${policy.id}, and can't be deleted.`);
    }
    await trx.updateTable("listeners").set({ default_pool_id: null }).where("default_pool_id", "=", row.id).execute();
    for (const table of ["members", "health_monitors"] as const) {
      await trx
        .updateTable(table)
        .set({ doomed: true, provisioning_status: "PENDING_DELETE" })
        .where("pool_id", "=", row.id)
        .execute();
    }
  },

  async concerned(change, row) {
    return { listeners: await listenersOf(change, row.id) };
  },

  async views(db, rows) {
    const ids = rows.map((row) => row.id);
    const [listeners, policies, members, monitors] = await Promise.all([
      listenersByPool(db, ids),
      relatedIds(db, "l7policies", "redirect_pool_id", ids),
      relatedIds(db, "members", "pool_id", ids),
      relatedIds(db, "health_monitors", "pool_id", ids),
    ]);
    return new Map(
      rows.map((row) => [
        row.id,
        {
          loadbalancers: [{ id: row.loadbalancer_id }],
          listeners: (listeners.get(row.id) ?? []).map((id) => ({ id })),
          l7policies: policies.get(row.id) ?? [],
          members: members.get(row.id) ?? [],
          healthmonitor_id: monitors.get(row.id)?.[0]?.id ?? null,
        },
      ]),
    );
  },
};

/** The pool with what follows from its values. @throws {ApiError} 400 when they do not go with each other */
function checked(row: Pool): Pool {
  const { protocol, session_persistence: persistence } = row;
  if (persistence !== null) {
    const fault = persistenceFault(protocol, persistence);
    if (fault !== null) throw inPersistence(persistence, fault.field, `It ${fault.message}.`);
    if (persistence.type !== "SOURCE_IP" && (protocol === "TCP" || protocol === "HTTPS")) {
      throw inPersistence(
        persistence,
        "type",
        `It must be SOURCE_IP for a ${protocol} pool: its cookies can't be seen.`,
      );
    }
    for (const field of ["persistence_timeout", "persistence_granularity"] as const) {
      if (persistence[field] === null || isIpvs(protocol)) continue;
      throw inPersistence(persistence, field, "It is for UDP, SCTP and FORWARD_TCP pools only.");
    }
  }
  const { ca_tls_container_ref, crl_container_ref } = row;
  if (crl_container_ref !== null && ca_tls_container_ref === null) {
    throw invalidField("crl_container_ref", crl_container_ref, "It requires ca_tls_container_ref.");
  }
  const given = isIpvs(protocol) ? TLS_ATTRIBUTES.find((name) => row[name]) : undefined;
  if (given !== undefined) {
    throw invalidField(given, row[given], `The members of a ${protocol} pool can't be spoken to over TLS.`);
  }
  checkCiphers(row);
  return row.tls_enabled ? { ...row, tls_versions: row.tls_versions ?? [...TLS_DEFAULTS.tls_versions] } : row;
}

function inPersistence(
  persistence: NonNullable<Pool["session_persistence"]>,
  field: keyof NonNullable<Pool["session_persistence"]>,
  reason: string,
): ApiError {
  return invalidField(`session_persistence.${field}`, persistence[field], reason);
}

/** The listeners that send to a stored pool, by default or by a policy. */
export async function listenersOf({ trx }: Change, poolId: string): Promise<string[]> {
  return (await listenersByPool(trx, [poolId])).get(poolId) ?? [];
}

async function listenersByPool(db: Connection, ids: readonly string[]): Promise<Map<string, string[]>> {
  const found = new Map(ids.map((id) => [id, new Set<string>()]));
  if (ids.length > 0) {
    const rows = await db
      .selectFrom("listeners")
      .select(["id", "default_pool_id as pool_id", "created_at"])
      .where("default_pool_id", "in", ids)
      .union(
        db
          .selectFrom("l7policies")
          .innerJoin("listeners", "listeners.id", "l7policies.listener_id")
          .select(["listeners.id", "redirect_pool_id as pool_id", "listeners.created_at"])
          .where("redirect_pool_id", "in", ids),
      )
      .orderBy("created_at")
      .orderBy("id")
      .execute();
    for (const { id, pool_id } of rows) found.get(pool_id ?? "")?.add(id);
  }
  return new Map([...found].map(([id, listeners]) => [id, [...listeners]]));
}
