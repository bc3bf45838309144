import { COMPARE_TYPES, L7_RULE_TYPES, matchText, token, uuid } from "../../templates/fields.ts";
import { flag, oneOf, optionalText, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

export const l7rule = defineResource({
  name: "rule",
  plural: "rules",
  title: "L7Rule",
  table: "l7rules",
  quota: "l7rule",
  attributes: {
    id: common.id,
    type: oneOf(L7_RULE_TYPES, { doc: "What of a request is looked at." }),
    compare_type: oneOf(COMPARE_TYPES, { doc: "How it is compared." }),
    key: optionalText(token, { doc: "HEADER, COOKIE: the name; SSL_DN_FIELD: such as CN." }),
    value: text(matchText, { doc: "What it is compared with." }),
    invert: flag({ default: false, doc: "Whether what does not compare matches." }),
    provisioning_status: common.provisioningStatus,
    operating_status: common.operatingStatus,
    created_at: common.createdAt,
    updated_at: common.updatedAt,
    project_id: common.project,
    admin_state_up: common.adminStateUp,
    tags: common.tags,

    l7policy_id: text(uuid, { write: "never", hidden: true, doc: "Its policy." }),
    loadbalancer_id: common.partOf,
    doomed: common.doomed,
  },
});

export type L7Rule = Row<typeof l7rule>;
