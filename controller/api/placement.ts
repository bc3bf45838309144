/** What a new load balancer is made with, and where: its flavor and its availability zone. */

import { availabilityZone } from "../model/availability-zone.ts";
import { flavor } from "../model/flavor.ts";
import type { LoadBalancer } from "../model/load-balancer.ts";
import type { Resource } from "../model/resource.ts";
import type { Store, Trx } from "../store/database.ts";
import { lockRow } from "../store/rows.ts";
import { ApiError, invalidField } from "./errors.ts";

export interface Defaults {
  /** null: none */
  readonly flavorId: string | null;
  readonly availabilityZone: string | null;
}

/**
 * The flavor and zone that a client named, or the deployment's; neither can be deleted until the transaction ends.
 * @throws {ApiError} 400 when there is none of that name, or it is not enabled
 */
export async function placementOf(
  store: Store,
  trx: Trx,
  given: Readonly<Partial<Pick<LoadBalancer, "flavor_id" | "availability_zone">>>,
  defaults: Defaults,
): Promise<Pick<LoadBalancer, "flavor_id" | "availability_zone">> {
  const flavorId = given.flavor_id ?? defaults.flavorId;
  const zone = given.availability_zone ?? defaults.availabilityZone;
  await requireEnabled(store, trx, flavor, "flavor_id", flavorId);
  await requireEnabled(store, trx, availabilityZone, "availability_zone", zone);
  return { flavor_id: flavorId, availability_zone: zone };
}

/**
 * The same for a load balancer that there is: only its flavor can be changed. What it has it may keep, though nothing
 * new may have it. @returns what is to be written. @throws {ApiError} 400
 */
export async function flavorChange(
  store: Store,
  trx: Trx,
  { flavor_id: present }: Pick<LoadBalancer, "flavor_id">,
  wanted: string | null | undefined,
  defaults: Defaults,
): Promise<Partial<Pick<LoadBalancer, "flavor_id">>> {
  if (wanted === undefined) return {};
  const flavorId = wanted ?? defaults.flavorId;
  if (flavorId !== present) await requireEnabled(store, trx, flavor, "flavor_id", flavorId);
  return { flavor_id: flavorId };
}

async function requireEnabled(store: Store, trx: Trx, resource: Resource, field: string, key: string | null) {
  if (key === null) return;
  const row: Readonly<Record<string, unknown>> | undefined = await lockRow(store, trx, resource, key, "share");
  if (row === undefined) throw invalidField(field, key, `${resource.title} ${key} not found.`);
  if (row.enabled !== true)
    throw new ApiError(400, `The selected ${field} is not allowed in this deployment: ${key} is disabled.`);
}
