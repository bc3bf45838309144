import { uuid } from "../../templates/fields.ts";
import { flag, plainText, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

export const flavor = defineResource({
  name: "flavor",
  plural: "flavors",
  title: "Flavor",
  table: "flavors",
  attributes: {
    id: common.id,
    name: text(plainText(255).min(1), { doc: "A name for people; no other flavor has it." }),
    description: common.description,
    enabled: flag({ default: true, doc: "Whether new load balancers may have it." }),
    flavor_profile_id: text(uuid, { write: "create", doc: "The profile that says what it is." }),
  },
});

export type Flavor = Row<typeof flavor>;
