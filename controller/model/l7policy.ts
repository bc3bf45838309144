import { z } from "zod";
import { L7_ACTIONS, REDIRECT_HTTP_CODES, redirectUrl, uuid } from "../../templates/fields.ts";
import { integer, oneOf, optionalInteger, optionalText, references, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

/** A new policy comes last, unless it says where. */
export const LAST_POSITION = 2_147_483_647;

export const l7policy = defineResource({
  name: "l7policy",
  plural: "l7policies",
  title: "L7Policy",
  table: "l7policies",
  quota: "l7policy",
  attributes: {
    id: common.id,
    name: common.name,
    description: common.description,
    provisioning_status: common.provisioningStatus,
    operating_status: common.operatingStatus,
    admin_state_up: common.adminStateUp,
    project_id: common.project,
    action: oneOf(L7_ACTIONS, { doc: "What is done with a request that matches." }),
    listener_id: text(uuid, { write: "create", doc: "Its listener, HTTP or TERMINATED_HTTPS." }),
    redirect_pool_id: optionalText(uuid, { doc: "REDIRECT_TO_POOL: the pool that gets the request." }),
    redirect_url: optionalText(redirectUrl, { doc: "REDIRECT_TO_URL: where the client is sent." }),
    redirect_prefix: optionalText(redirectUrl, { doc: "REDIRECT_PREFIX: what is put before the request's path." }),
    position: integer(z.int().min(1).max(LAST_POSITION), {
      default: LAST_POSITION,
      doc: "Its place among the listener's policies, from 1 on; the first that matches decides.",
    }),
    rules: references("Its rules: all of them must match."),
    created_at: common.createdAt,
    updated_at: common.updatedAt,
    tags: common.tags,
    redirect_http_code: optionalInteger(z.literal(REDIRECT_HTTP_CODES), {
      doc: "REDIRECT_TO_URL and REDIRECT_PREFIX: the status of the answer; 302 unless set.",
    }),

    loadbalancer_id: common.partOf,
    doomed: common.doomed,
  },
});

export type L7Policy = Row<typeof l7policy>;
