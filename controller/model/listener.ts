import { connectionLimit, milliseconds, port, uuid } from "../../templates/fields.ts";
import { constant, integer, oneOf, optionalText, references, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

export const listener = defineResource({
  name: "listener",
  plural: "listeners",
  title: "Listener",
  table: "listeners",
  attributes: {
    id: common.id,
    name: common.name,
    description: common.description,
    provisioning_status: common.provisioningStatus,
    operating_status: common.operatingStatus,
    admin_state_up: common.adminStateUp,
    protocol: oneOf(["HTTP", "TCP"], { write: "create", doc: "What clients speak." }),
    protocol_port: integer(port, { write: "create", doc: "The port clients connect to." }),
    connection_limit: integer(
      connectionLimit.refine((limit) => limit !== 0, "must be -1 (no limit) or at least 1"),
      { default: -1, doc: "Most connections at a time; -1: no limit." },
    ),
    default_tls_container_ref: constant(null, "The server certificate."),
    sni_container_refs: constant([], "Further server certificates."),
    project_id: common.project,
    default_pool_id: optionalText(uuid, { doc: "The pool that gets what no policy sends elsewhere." }),
    l7policies: constant([], "Its policies."),
    insert_headers: constant({}, "Headers to add to requests."),
    created_at: common.createdAt,
    updated_at: common.updatedAt,
    loadbalancers: references("Its load balancer."),
    timeout_client_data: integer(milliseconds, { default: 50_000, doc: "Idle ms of a client." }),
    timeout_member_connect: integer(milliseconds, { default: 5_000, doc: "Most ms to connect to a member." }),
    timeout_member_data: integer(milliseconds, { default: 50_000, doc: "Idle ms of a member." }),
    timeout_tcp_inspect: integer(milliseconds, { default: 0, doc: "Most ms to wait for content to inspect." }),
    tags: common.tags,
    client_ca_tls_container_ref: constant(null, "The authority of client certificates."),
    client_authentication: constant("NONE", "Whether clients show a certificate."),
    client_crl_container_ref: constant(null, "Revoked client certificates."),
    allowed_cidrs: constant(null, "Who may connect; null: everybody."),
    tls_ciphers: constant(null, "Ciphers, OpenSSL format."),
    tls_versions: constant(null, "TLS versions."),
    alpn_protocols: constant(null, "ALPN protocols."),
    redirect_listener_id: constant(null, "The HTTPS listener that requests are redirected to."),

    loadbalancer_id: text(uuid, { write: "create", hidden: true, doc: "The load balancer it belongs to." }),
    doomed: common.doomed,
  },
});

export type Listener = Row<typeof listener>;
