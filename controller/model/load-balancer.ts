import { z } from "zod";
import { ipAddress, uuid } from "../../templates/fields.ts";
import {
  flag,
  integer,
  json,
  optionalInteger,
  optionalJson,
  optionalText,
  plainText,
  references,
  text,
} from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";

const timeout = z
  .int()
  .min(1)
  .max(86_400 * 31);

/** What is not given is chosen when it is created. */
const additionalVip = z.strictObject({
  subnet_id: uuid,
  ip_address: ipAddress.optional(),
  port_id: uuid.optional(),
});

const tlsState = z.strictObject({
  digest: z.string(),
  /** the same, of what its amphorae are to be given next */
  wanted: z.string(),
  expiries: z.array(
    z.strictObject({
      kind: z.enum(["listener", "pool"]),
      id: z.string(),
      attribute: z.string(),
      expires_at: z.string(),
    }),
  ),
});

export const loadBalancer = defineResource({
  name: "loadbalancer",
  plural: "loadbalancers",
  title: "Load Balancer",
  table: "load_balancers",
  quota: "load_balancer",
  attributes: {
    id: common.id,
    name: common.name,
    description: common.description,
    provisioning_status: common.provisioningStatus,
    operating_status: common.operatingStatus,
    admin_state_up: common.adminStateUp,
    project_id: common.project,
    created_at: common.createdAt,
    updated_at: common.updatedAt,
    vip_address: text(ipAddress, { write: "create", default: "", doc: "The address clients connect to." }),
    vip_port_id: text(uuid, { write: "create", default: "", doc: "The port of the VIP." }),
    vip_subnet_id: text(uuid, { write: "create", default: "", doc: "The subnet of the VIP." }),
    vip_network_id: text(uuid, { write: "create", default: "", doc: "The network of the VIP." }),
    additional_vips: json(z.array(additionalVip).max(8), {
      write: "create",
      default: [],
      doc: "Further addresses, each on a subnet of its own of the same network.",
    }),
    listeners: references("Its listeners."),
    pools: references("Its pools."),
    provider: text(z.enum(common.PROVIDERS), {
      write: "create",
      default: "amphora",
      doc: "The provider; octavia is another name for amphora.",
    }),
    flavor_id: optionalText(uuid, {
      doc:
        "The flavor; null: the deployment's default. After a change amphorae come or go as the new one says; those that " +
        "stay keep their size until a failover.",
    }),
    vip_qos_policy_id: optionalText(uuid, { doc: "A QoS policy for the VIP." }),
    tags: common.tags,
    availability_zone: optionalText(plainText(255), {
      write: "create",
      doc: "The name of the availability zone; null: the deployment's default.",
    }),
    lvs_tcp_timeout: integer(timeout, { default: 300, doc: "Idle seconds of a FORWARD_TCP connection." }),
    lvs_tcpfin_timeout: integer(timeout, { default: 120, doc: "Seconds of a FORWARD_TCP connection after a FIN." }),
    lvs_udp_timeout: integer(timeout, { default: 300, doc: "Idle seconds of a UDP flow." }),
    status_reason: optionalText(z.string(), {
      write: "never",
      doc: "Why the last change could not be carried out, while it can't.",
    }),

    doomed: common.doomed,
    revision: integer(z.int(), { write: "internal", default: 1, doc: "Raised with every change of the wanted state." }),
    due_at: optionalInteger(z.int(), {
      write: "internal",
      doc: "From when on (ms since 1970) a reconciler should look at it; null: nothing to do.",
    }),
    lease_owner: optionalText(z.string(), { write: "internal", doc: "The reconciler that works on it." }),
    lease_until: optionalInteger(z.int(), { write: "internal", doc: "When the lease ends, ms since 1970." }),
    failing_since: optionalInteger(z.int(), { write: "internal", doc: "When the present row of failures began, ms." }),
    attempts: integer(z.int(), { write: "internal", default: 0, doc: "Failures in a row." }),
    tls_state: optionalJson(tlsState, {
      write: "internal",
      doc: "Of the certificates that its amphorae were last given: what tells them from others, and when they expire.",
    }),
    failover: flag({ write: "internal", default: false, doc: "Its amphorae are to be replaced." }),
  },
});

export type LoadBalancer = Row<typeof loadBalancer>;
