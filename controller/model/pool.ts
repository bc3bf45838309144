import { z } from "zod";
import { LB_ALGORITHMS, uuid } from "../../templates/fields.ts";
import { constant, derived, oneOf, placement, references, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

export const pool = defineResource({
  name: "pool",
  plural: "pools",
  title: "Pool",
  table: "pools",
  attributes: {
    id: common.id,
    name: common.name,
    description: common.description,
    provisioning_status: common.provisioningStatus,
    operating_status: common.operatingStatus,
    admin_state_up: common.adminStateUp,
    protocol: oneOf(["HTTP", "TCP"], { write: "create", doc: "What members speak." }),
    lb_algorithm: oneOf(LB_ALGORITHMS, { doc: "How a member is chosen." }),
    session_persistence: constant(null, "How a client stays with its member."),
    project_id: common.project,
    loadbalancers: references("Its load balancer."),
    listeners: references("The listeners whose default pool it is."),
    l7policies: constant([], "The policies that send requests to it."),
    created_at: common.createdAt,
    updated_at: common.updatedAt,
    healthmonitor_id: derived(z.string().nullable(), "Its health monitor."),
    members: references("Its members."),
    tags: common.tags,
    tls_container_ref: constant(null, "The client certificate that members are shown."),
    ca_tls_container_ref: constant(null, "The authority of members' certificates."),
    crl_container_ref: constant(null, "Revoked member certificates."),
    tls_enabled: constant(false, "Whether members are spoken to over TLS."),
    tls_ciphers: constant(null, "Ciphers, OpenSSL format."),
    tls_versions: constant(null, "TLS versions."),
    alpn_protocols: constant(null, "ALPN protocols."),

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
