import { uuid } from "../../templates/fields.ts";
import { flag, plainText, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

export const availabilityZone = defineResource({
  name: "availability_zone",
  plural: "availability_zones",
  title: "Availability Zone",
  table: "availability_zones",
  key: "name",
  attributes: {
    name: text(plainText(255).min(1), { write: "create", doc: "Its name, by which it is addressed." }),
    description: common.description,
    enabled: flag({ default: true, doc: "Whether new load balancers may be placed in it." }),
    availability_zone_profile_id: text(uuid, { write: "create", doc: "The profile that says where it is." }),
  },
});

export type AvailabilityZone = Row<typeof availabilityZone>;
