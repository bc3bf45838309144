import { z } from "zod";
import { jsonText, plainText, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

export const TOPOLOGIES = ["SINGLE", "ACTIVE_STANDBY", "ACTIVE_ACTIVE"] as const;
export type Topology = (typeof TOPOLOGIES)[number];
export const FEWEST_REPLICAS = 2;
export const MOST_REPLICAS = 10;

/** What a flavor's profile may say. */
export const flavorData = z
  .strictObject({
    loadbalancer_topology: z
      .enum(TOPOLOGIES)
      .optional()
      .describe("SINGLE: one amphora; ACTIVE_STANDBY: a second one takes over; ACTIVE_ACTIVE: several share the load"),
    replicas: z
      .int()
      .min(FEWEST_REPLICAS)
      .max(MOST_REPLICAS)
      .optional()
      .describe("ACTIVE_ACTIVE, where it must be given: how many amphorae share the load"),
    amp_volume_type: plainText(255).min(1).optional().describe("the type of the amphorae's volumes"),
    compute_flavor: plainText(255).min(1).optional().describe("the size of the amphorae, one of the deployment's"),
  })
  .superRefine(({ loadbalancer_topology: topology, replicas }, context) => {
    const path = ["replicas"];
    if (topology === "ACTIVE_ACTIVE" && replicas === undefined) {
      context.addIssue({ code: "custom", path, message: "must be given with ACTIVE_ACTIVE" });
    }
    if (topology !== "ACTIVE_ACTIVE" && replicas !== undefined) {
      context.addIssue({ code: "custom", path, message: "is for ACTIVE_ACTIVE only" });
    }
  });
export type FlavorData = z.output<typeof flavorData>;

export const flavorProfile = defineResource({
  name: "flavorprofile",
  plural: "flavorprofiles",
  title: "Flavor profile",
  table: "flavor_profiles",
  attributes: {
    id: common.id,
    name: text(plainText(255).min(1), { doc: "A name for people." }),
    provider_name: common.provider,
    flavor_data: text(jsonText(flavorData), {
      doc: "What load balancers of its flavors are: loadbalancer_topology, replicas, amp_volume_type, compute_flavor.",
    }),
  },
});

export type FlavorProfile = Row<typeof flavorProfile>;
