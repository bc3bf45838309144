import { z } from "zod";
import { jsonText, plainText, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

export const CPU_ARCHITECTURES = ["x86_64", "aarch64"] as const;
export type CpuArchitecture = (typeof CPU_ARCHITECTURES)[number];

/** What a zone's profile may say. */
export const availabilityZoneData = z.strictObject({
  compute_zone: plainText(255).min(1).optional().describe("the compute service's zone"),
  cpu_arch: z.enum(CPU_ARCHITECTURES).optional().describe("what the amphorae's processors are"),
  network_zone: plainText(255).min(1).optional().describe("the network service's zone; default-az unless given"),
});
export type AvailabilityZoneData = z.output<typeof availabilityZoneData>;

export const availabilityZoneProfile = defineResource({
  name: "availability_zone_profile",
  plural: "availability_zone_profiles",
  title: "Availability Zone Profile",
  table: "availability_zone_profiles",
  attributes: {
    id: common.id,
    name: text(plainText(255).min(1), { doc: "A name for people." }),
    provider_name: common.provider,
    availability_zone_data: text(jsonText(availabilityZoneData), {
      doc: "Where amphorae of its zones are: compute_zone, cpu_arch, network_zone.",
    }),
  },
});

export type AvailabilityZoneProfile = Row<typeof availabilityZoneProfile>;
