/** Load balancers themselves: their VIP, removal with or without their parts, failover, statistics. */
import { randomUUID } from "node:crypto";
import type { SelectQueryBuilder } from "kysely";
import type { Counters } from "../../agent/protocol.ts";
import { NetworkRequestError } from "../drivers/network.ts";
import { loadBalancer } from "../model/load-balancer.ts";
import { PARTS } from "../model/resources.ts";
import { doomEverything } from "../store/load-balancers.ts";
import { type Connection, insertRow, newRow, timestamp, untyped, updateRow } from "../store/rows.ts";
import type { Tables } from "../store/tables.ts";
import { valuesForCreate, valuesForUpdate } from "./body.ts";
import { authorize, type Engine } from "./engine.ts";
import { ApiError, invalidField } from "./errors.ts";
import type { Caller } from "./identity.ts";
import { relatedIds } from "./rules/shared.ts";

export class LoadBalancers {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async create(caller: Caller, root: Record<string, unknown>): Promise<Record<string, unknown>> {
    const { store, network, settling } = this.#engine.options;
    const given = valuesForCreate(loadBalancer, root);
    const projectId = given.project_id || caller.projectId;
    authorize(caller, projectId);
    if (given.flavor_id) throw invalidField("flavor_id", given.flavor_id, `Flavor ${given.flavor_id} not found.`);
    if (given.availability_zone) {
      throw invalidField("availability_zone", given.availability_zone, "There is no such availability zone.");
    }
    checkQos(given.vip_qos_policy_id);
    const id = randomUUID();
    const row = await store.transaction(async (trx) => {
      const vip = await network
        .reserveVip(trx, id, {
          vip_address: given.vip_address ?? "",
          vip_port_id: given.vip_port_id ?? "",
          vip_subnet_id: given.vip_subnet_id ?? "",
          vip_network_id: given.vip_network_id ?? "",
        })
        .catch(asApiError);
      const row = newRow(loadBalancer, {
        ...given,
        id,
        provisioning_status: "PENDING_CREATE",
        operating_status: "OFFLINE",
        project_id: projectId,
        created_at: timestamp(),
        vip_address: vip.address,
        vip_port_id: vip.id,
        vip_subnet_id: vip.subnet_id,
        vip_network_id: vip.network_id,
        provider: "amphora",
        due_at: Date.now(),
      });
      await insertRow(trx, loadBalancer, row);
      return row;
    });
    settling.wake();
    return this.#engine.present(loadBalancer, row, loadBalancerViews);
  }

  async update(caller: Caller, id: string, root: Record<string, unknown>): Promise<Record<string, unknown>> {
    const patch = valuesForUpdate(loadBalancer, root);
    checkQos(patch.vip_qos_policy_id);
    const row = await this.#engine.change(caller, id, async ({ trx, loadBalancer: row }) => {
      const changed = { ...patch, updated_at: timestamp() };
      await updateRow(trx, loadBalancer, id, changed);
      return { ...row, ...changed, provisioning_status: "PENDING_UPDATE" as const };
    });
    return this.#engine.present(loadBalancer, row, loadBalancerViews);
  }

  /** @throws {ApiError} 400 when it has parts and `cascade` is not set */
  async remove(caller: Caller, id: string, cascade: boolean): Promise<void> {
    await this.#engine.change(
      caller,
      id,
      async ({ trx }) => {
        if (!cascade) await checkNoParts(trx, id);
        await doomEverything(trx, id);
        await updateRow(trx, loadBalancer, id, { doomed: true });
      },
      "PENDING_DELETE",
    );
  }

  async failover(caller: Caller, id: string): Promise<void> {
    await this.#engine.change(caller, id, async ({ trx }) => {
      await updateRow(trx, loadBalancer, id, { failover: true });
    });
  }

  async stats(caller: Caller, id: string): Promise<Counters> {
    await this.#engine.requireRow(loadBalancer, caller, id);
    const { db } = this.#engine.options.store;
    return statistics(db, db.selectFrom("listeners").select("id").where("loadbalancer_id", "=", id));
  }
}

/** The sum over every amphora, of the listeners that the query finds or that the ids name. */
export async function statistics(
  db: Connection,
  listeners: readonly string[] | SelectQueryBuilder<Tables, "listeners", { id: string }>,
): Promise<Counters> {
  const row = await db
    .selectFrom("listener_statistics")
    .select(({ fn }) => [
      fn.sum<number | null>("active_connections").as("active_connections"),
      fn.sum<number | null>("total_connections").as("total_connections"),
      fn.sum<number | null>("bytes_in").as("bytes_in"),
      fn.sum<number | null>("bytes_out").as("bytes_out"),
      fn.sum<number | null>("request_errors").as("request_errors"),
    ])
    .where("listener_id", "in", listeners)
    .executeTakeFirstOrThrow();
  return {
    bytes_in: Number(row.bytes_in ?? 0),
    bytes_out: Number(row.bytes_out ?? 0),
    active_connections: Number(row.active_connections ?? 0),
    total_connections: Number(row.total_connections ?? 0),
    request_errors: Number(row.request_errors ?? 0),
  };
}

export async function loadBalancerViews(
  db: Connection,
  rows: readonly Readonly<Record<string, unknown>>[],
): Promise<ReadonlyMap<string, Record<string, unknown>>> {
  const ids = rows.map((row) => String(row.id));
  const [listeners, pools] = await Promise.all([
    relatedIds(db, "listeners", "loadbalancer_id", ids),
    relatedIds(db, "pools", "loadbalancer_id", ids),
  ]);
  return new Map(ids.map((id) => [id, { listeners: listeners.get(id) ?? [], pools: pools.get(id) ?? [] }]));
}

async function checkNoParts(db: Connection, id: string): Promise<void> {
  for (const { table } of PARTS) {
    const part = await untyped(db)
      .selectFrom(table)
      .select("id")
      .where("loadbalancer_id", "=", id)
      .where("doomed", "=", false)
      .executeTakeFirst();
    if (part !== undefined) {
      throw new ApiError(
        400,
        `Cannot delete Load Balancer ${id} - it has children. Use cascade=true to delete them too.`,
      );
    }
  }
}

function checkQos(policyId: string | null | undefined): void {
  if (policyId)
    throw invalidField("vip_qos_policy_id", policyId, "The network of this deployment has no QoS policies.");
}

function asApiError(error: unknown): never {
  if (error instanceof NetworkRequestError) throw new ApiError(error.status, error.message);
  throw error;
}
