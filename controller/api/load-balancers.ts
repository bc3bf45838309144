/** Load balancers themselves: their VIPs, their parts made in one go, removal with or without them, failover, statistics. */
import { randomUUID } from "node:crypto";
import { type LoadBalancer, loadBalancer } from "../model/load-balancer.ts";
import { PARTS } from "../model/resources.ts";
import type { Trx } from "../store/database.ts";
import { doomEverything } from "../store/load-balancers.ts";
import { type Connection, newRow, timestamp, untyped, updateRow } from "../store/rows.ts";
import { valuesForUpdate } from "./body.ts";
import type { Engine } from "./engine.ts";
import { ApiError, invalidField } from "./errors.ts";
import { everythingOf } from "./full-answer.ts";
import type { Caller } from "./identity.ts";
import { parseNode } from "./nesting.ts";
import { addWithin, precheck } from "./parts.ts";
import { flavorChange, placementOf } from "./placement.ts";
import { authorize } from "./policy.ts";
import type { Given } from "./rules/rules.ts";
import { relatedIds } from "./rules/shared.ts";
import { reserveVips } from "./vips.ts";

type GivenLoadBalancer = Given<typeof loadBalancer>;

export class LoadBalancers {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** @returns the load balancer with everything that was made within it */
  async create(caller: Caller, root: Record<string, unknown>): Promise<Record<string, unknown>> {
    const node = parseNode(loadBalancer, root);
    const given = node.given as GivenLoadBalancer;
    const projectId = given.project_id || caller.projectId;
    authorize(caller, "write", projectId);
    if (projectId === "")
      throw new ApiError(400, "Invalid input for field/attribute project_id. Mandatory field missing.");
    await this.#checkQos(given.vip_qos_policy_id);
    await precheck(null, node, { services: this.#engine.options.services, caller, projectId: async () => projectId });
    return this.#engine.create(
      caller,
      (trx) => this.#row(trx, given, projectId),
      async (change) => {
        await addWithin(change, node);
        return everythingOf(change);
      },
    );
  }

  async update(caller: Caller, id: string, root: Record<string, unknown>): Promise<Record<string, unknown>> {
    const patch = valuesForUpdate(loadBalancer, root);
    await this.#checkQos(patch.vip_qos_policy_id);
    const row = await this.#engine.change(caller, id, async ({ trx, loadBalancer: row }) => {
      const { store, defaults } = this.#engine.options;
      const placement = await flavorChange(store, trx, row, patch.flavor_id, defaults);
      const changed = { ...patch, ...placement, updated_at: timestamp() };
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
      { status: "PENDING_DELETE" },
    );
  }

  async failover(caller: Caller, id: string): Promise<void> {
    await this.#engine.change(
      caller,
      id,
      async ({ trx }) => {
        await updateRow(trx, loadBalancer, id, { failover: true });
      },
      { action: "administer" },
    );
  }

  async #row(trx: Trx, given: GivenLoadBalancer, projectId: string): Promise<LoadBalancer> {
    const { store, network, defaults } = this.#engine.options;
    const id = randomUUID();
    const placement = await placementOf(store, trx, given, defaults);
    const vips = await reserveVips(network, trx, id, given);
    return newRow(loadBalancer, {
      ...given,
      ...placement,
      ...vips,
      id,
      provisioning_status: "PENDING_CREATE",
      operating_status: "OFFLINE",
      project_id: projectId,
      created_at: timestamp(),
      provider: "amphora",
      due_at: Date.now(),
    });
  }

  async #checkQos(policyId: string | null | undefined): Promise<void> {
    if (!policyId || (await this.#engine.options.network.hasQosPolicy(policyId))) return;
    throw invalidField("vip_qos_policy_id", policyId, "The network of this deployment has no such QoS policy.");
  }
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
