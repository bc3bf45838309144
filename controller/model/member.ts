import { ipAddress, port, uuid, weight } from "../../templates/fields.ts";
import { flag, integer, optionalInteger, optionalText, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

export const member = defineResource({
  name: "member",
  plural: "members",
  title: "Member",
  table: "members",
  quota: "member",
  attributes: {
    id: common.id,
    name: common.name,
    operating_status: common.operatingStatus,
    provisioning_status: common.provisioningStatus,
    admin_state_up: common.adminStateUp,
    address: text(ipAddress, { write: "create", doc: "Its address." }),
    protocol_port: integer(port, { write: "create", doc: "Its port." }),
    weight: integer(weight, { default: 1, doc: "Its share of the traffic; 0 drains it." }),
    backup: flag({ default: false, doc: "Gets traffic only when every other member is down." }),
    subnet_id: optionalText(uuid, { write: "create", doc: "The subnet it is reached through; null: the VIP's." }),
    project_id: common.project,
    created_at: common.createdAt,
    updated_at: common.updatedAt,
    monitor_address: optionalText(ipAddress, { doc: "Where it is checked; null: at its address." }),
    monitor_port: optionalInteger(port, { doc: "The port that is checked; null: protocol_port." }),
    tags: common.tags,

    pool_id: text(uuid, { write: "never", hidden: true, doc: "Its pool." }),
    loadbalancer_id: common.partOf,
    doomed: common.doomed,
  },
});

export type Member = Row<typeof member>;
