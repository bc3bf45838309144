/** Rules of flavors, availability zones and their profiles. */
import { availabilityZone } from "../../model/availability-zone.ts";
import { availabilityZoneProfile } from "../../model/availability-zone-profile.ts";
import { flavor } from "../../model/flavor.ts";
import { flavorData, flavorProfile } from "../../model/flavor-profile.ts";
import type { Resource } from "../../model/resource.ts";
import type { Store, Trx } from "../../store/database.ts";
import { lockRow } from "../../store/rows.ts";
import type { CatalogueRules } from "../catalogue.ts";
import { invalidField } from "../errors.ts";

export const flavorRules: CatalogueRules = {
  resource: flavor,
  path: "/flavors",
  isPublic: true,
  usedBy: { table: "load_balancers", column: "flavor_id" },
  check: (store, trx, { flavor_profile_id: id }) => holdProfile(store, trx, flavorProfile, "flavor_profile_id", id),
};

/** @param computeFlavors the sizes of amphorae that the deployment has */
export function flavorProfileRules(computeFlavors: readonly string[]): CatalogueRules {
  return {
    resource: flavorProfile,
    path: "/flavorprofiles",
    isPublic: false,
    usedBy: { table: "flavors", column: "flavor_profile_id" },
    mutableInUse: ["name"],
    async check(_store, _trx, { flavor_data }) {
      const { compute_flavor: size } = flavorData.parse(JSON.parse(String(flavor_data)));
      if (size === undefined || computeFlavors.includes(size)) return;
      throw invalidField("flavor_data.compute_flavor", size, `It must be one of ${computeFlavors.join(", ")}.`);
    },
  };
}

export const availabilityZoneRules: CatalogueRules = {
  resource: availabilityZone,
  path: "/availabilityzones",
  isPublic: true,
  usedBy: { table: "load_balancers", column: "availability_zone" },
  check: (store, trx, { availability_zone_profile_id: id }) =>
    holdProfile(store, trx, availabilityZoneProfile, "availability_zone_profile_id", id),
};

export const availabilityZoneProfileRules: CatalogueRules = {
  resource: availabilityZoneProfile,
  path: "/availabilityzoneprofiles",
  isPublic: false,
  usedBy: { table: "availability_zones", column: "availability_zone_profile_id" },
  mutableInUse: ["name"],
  async check() {},
};

async function holdProfile(store: Store, trx: Trx, profile: Resource, field: string, id: unknown): Promise<void> {
  const row = await lockRow(store, trx, profile, String(id), "share");
  if (row === undefined) throw invalidField(field, id, `${profile.title} ${id} not found.`);
}
