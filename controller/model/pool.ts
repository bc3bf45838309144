import { z } from "zod";
import {
  checkSeconds,
  LB_ALGORITHMS,
  POOL_PROTOCOLS,
  persistenceGranularity,
  SESSION_PERSISTENCE_TYPES,
  token,
  uuid,
} from "../../templates/fields.ts";
import { derived, flag, oneOf, optionalJson, optionalText, placement, references, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

const sessionPersistence = z.strictObject({
  type: z.enum(SESSION_PERSISTENCE_TYPES),
  cookie_name: token.nullable().default(null),
  persistence_timeout: checkSeconds.nullable().default(null),
  persistence_granularity: persistenceGranularity.nullable().default(null),
});

export const pool = defineResource({
  name: "pool",
  plural: "pools",
  title: "Pool",
  table: "pools",
  quota: "pool",
  attributes: {
    id: common.id,
    name: common.name,
    description: common.description,
    provisioning_status: common.provisioningStatus,
    operating_status: common.operatingStatus,
    admin_state_up: common.adminStateUp,
    protocol: oneOf(POOL_PROTOCOLS, { write: "create", doc: "What members speak." }),
    lb_algorithm: oneOf(LB_ALGORITHMS, { doc: "How a member is chosen." }),
    session_persistence: optionalJson(sessionPersistence, {
      doc: "How a client stays with its member; cookie_name with APP_COOKIE, the others on UDP, SCTP and FORWARD_TCP.",
    }),
    project_id: common.project,
    loadbalancers: references("Its load balancer."),
    listeners: references("The listeners that send to it, by default or by a policy."),
    l7policies: references("The policies that send requests to it."),
    created_at: common.createdAt,
    updated_at: common.updatedAt,
    healthmonitor_id: derived(z.string().nullable(), "Its health monitor."),
    members: references("Its members."),
    tags: common.tags,
    tls_container_ref: optionalText(common.secretRef, { doc: "The client certificate that members are shown." }),
    ca_tls_container_ref: optionalText(common.secretRef, {
      doc: "Who signs members' certificates; null: not checked.",
    }),
    crl_container_ref: optionalText(common.secretRef, { doc: "Revoked member certificates." }),
    tls_enabled: flag({ default: false, doc: "Whether members are spoken to over TLS." }),
    tls_ciphers: common.tlsCiphers,
    tls_versions: common.tlsVersions,
    alpn_protocols: common.alpnProtocols,

    listener_id: placement("The listener whose default pool it becomes; or else loadbalancer_id."),
    loadbalancer_id: text(uuid, {
      write: "create",
      hidden: true,
      required: false,
      doc: "The load balancer it belongs to; or else listener_id.",
    }),
    doomed: common.doomed,
  },
});

export type Pool = Row<typeof pool>;
