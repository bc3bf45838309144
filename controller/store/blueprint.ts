/** What a load balancer's amphorae are to be, and how many: from its flavor and its availability zone. */
import {
  type AvailabilityZoneData,
  availabilityZoneData,
  type CpuArchitecture,
} from "../model/availability-zone-profile.ts";
import { type FlavorData, flavorData, type Topology } from "../model/flavor-profile.ts";
import type { LoadBalancer } from "../model/load-balancer.ts";
import type { Connection } from "./rows.ts";

export interface Blueprint {
  readonly topology: Topology;
  /** how many amphorae */
  readonly amphorae: number;
  /** names of the deployment's; null: its default */
  readonly computeFlavor: string | null;
  readonly volumeType: string | null;
  readonly computeZone: string | null;
  readonly cpuArch: CpuArchitecture | null;
}

const AMPHORAE: Readonly<Record<Topology, number>> = { SINGLE: 1, ACTIVE_STANDBY: 2, ACTIVE_ACTIVE: 2 };

/** @throws {Error} when a profile says what this program does not understand */
export async function blueprintOf(
  db: Connection,
  { flavor_id, availability_zone }: Pick<LoadBalancer, "flavor_id" | "availability_zone">,
): Promise<Blueprint> {
  const flavor = flavor_id === null ? {} : await flavorOf(db, flavor_id);
  const zone = availability_zone === null ? {} : await zoneOf(db, availability_zone);
  const topology = flavor.loadbalancer_topology ?? "SINGLE";
  return {
    topology,
    amphorae: flavor.replicas ?? AMPHORAE[topology],
    computeFlavor: flavor.compute_flavor ?? null,
    volumeType: flavor.amp_volume_type ?? null,
    computeZone: zone.compute_zone ?? null,
    cpuArch: zone.cpu_arch ?? null,
  };
}

async function flavorOf(db: Connection, id: string): Promise<FlavorData> {
  const row = await db
    .selectFrom("flavors")
    .innerJoin("flavor_profiles", "flavor_profiles.id", "flavors.flavor_profile_id")
    .select("flavor_data")
    .where("flavors.id", "=", id)
    .executeTakeFirstOrThrow();
  return flavorData.parse(JSON.parse(row.flavor_data));
}

async function zoneOf(db: Connection, name: string): Promise<AvailabilityZoneData> {
  const row = await db
    .selectFrom("availability_zones")
    .innerJoin("availability_zone_profiles", "availability_zone_profiles.id", "availability_zone_profile_id")
    .select("availability_zone_data")
    .where("availability_zones.name", "=", name)
    .executeTakeFirstOrThrow();
  return availabilityZoneData.parse(JSON.parse(row.availability_zone_data));
}
