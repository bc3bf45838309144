import { z } from "zod";
import {
  CLIENT_AUTHENTICATIONS,
  connectionLimit,
  INSERT_HEADERS,
  LISTENER_PROTOCOLS,
  milliseconds,
  port,
  prefix,
  uuid,
} from "../../templates/fields.ts";
import {
  flag,
  integer,
  json,
  oneOf,
  optionalInteger,
  optionalJson,
  optionalText,
  references,
  text,
} from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

/** `{"X-Forwarded-For": "true"}`, kept as clients write it. */
const insertHeaders = z.partialRecord(
  z.enum(Object.keys(INSERT_HEADERS) as (keyof typeof INSERT_HEADERS)[]),
  z.union([z.boolean(), z.stringbool()]).transform((wanted): "true" | "false" => (wanted ? "true" : "false")),
);

const allowedCidrs = z
  .array(prefix)
  .max(1000)
  .refine((list) => new Set(list).size === list.length, "holds a prefix twice");

export const listener = defineResource({
  name: "listener",
  plural: "listeners",
  title: "Listener",
  table: "listeners",
  quota: "listener",
  attributes: {
    id: common.id,
    name: common.name,
    description: common.description,
    provisioning_status: common.provisioningStatus,
    operating_status: common.operatingStatus,
    admin_state_up: common.adminStateUp,
    protocol: oneOf(LISTENER_PROTOCOLS, { write: "create", doc: "What clients speak." }),
    protocol_port: integer(port, { write: "create", doc: "The port clients connect to." }),
    connection_limit: integer(
      connectionLimit.refine((limit) => limit !== 0, "must be -1 (no limit) or at least 1"),
      { default: -1, doc: "Most connections at a time; -1: no limit." },
    ),
    default_tls_container_ref: optionalText(common.secretRef, {
      doc: "TERMINATED_HTTPS: the certificate for clients that name no host, or an unknown one.",
    }),
    sni_container_refs: json(z.array(common.secretRef).max(100), {
      default: [],
      doc: "TERMINATED_HTTPS: further certificates, chosen by the host that the client names.",
    }),
    project_id: common.project,
    default_pool_id: optionalText(uuid, { doc: "The pool that gets what no policy sends elsewhere." }),
    l7policies: references("Its policies, in their order."),
    insert_headers: json(insertHeaders, { default: {}, doc: "Headers to add to requests." }),
    created_at: common.createdAt,
    updated_at: common.updatedAt,
    loadbalancers: references("Its load balancer."),
    timeout_client_data: integer(milliseconds, { default: 50_000, doc: "Idle ms of a client." }),
    timeout_member_connect: integer(milliseconds, { default: 5_000, doc: "Most ms to connect to a member." }),
    timeout_member_data: integer(milliseconds, { default: 50_000, doc: "Idle ms of a member." }),
    timeout_tcp_inspect: integer(milliseconds, { default: 0, doc: "Most ms to wait for content to inspect." }),
    tags: common.tags,
    client_ca_tls_container_ref: optionalText(common.secretRef, { doc: "Who signs client certificates." }),
    client_authentication: oneOf(CLIENT_AUTHENTICATIONS, {
      default: "NONE",
      doc: "Whether clients may or must show a certificate.",
    }),
    client_crl_container_ref: optionalText(common.secretRef, { doc: "Revoked client certificates." }),
    allowed_cidrs: optionalJson(allowedCidrs, { doc: "Who may connect; null: everybody." }),
    tls_ciphers: common.tlsCiphers,
    tls_versions: common.tlsVersions,
    alpn_protocols: common.alpnProtocols,
    redirect_listener_id: optionalText(uuid, {
      doc: "HTTP: every request is answered 301, to this TERMINATED_HTTPS listener of the same load balancer.",
    }),
    hsts_max_age: optionalInteger(z.int().min(0).max(2_147_483_647), {
      doc: "TERMINATED_HTTPS: seconds in Strict-Transport-Security; null: no such header.",
    }),
    hsts_include_subdomains: flag({ default: false, doc: "Strict-Transport-Security holds for subdomains too." }),
    hsts_preload: flag({ default: false, doc: "Strict-Transport-Security asks browsers to know it beforehand." }),

    loadbalancer_id: text(uuid, { write: "create", hidden: true, doc: "The load balancer it belongs to." }),
    doomed: common.doomed,
  },
});

export type Listener = Row<typeof listener>;
