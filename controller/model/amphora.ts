import { z } from "zod";
import { uuid } from "../../templates/fields.ts";
import { flag, integer, oneOf, optionalInteger, optionalText, text } from "./attribute.ts";
import * as common from "./common.ts";
import { defineResource, type Row } from "./resource.ts";
import { AMPHORA_STATUSES } from "./status.ts";

/** The revision of one that was never given any to serve. */
export const NEVER_SERVED = 0;

const seen = (doc: string) => optionalText(z.string(), { write: "never", doc });

export const amphora = defineResource({
  name: "amphora",
  plural: "amphorae",
  title: "Amphora",
  table: "amphorae",
  attributes: {
    id: common.id,
    loadbalancer_id: text(uuid, { write: "never", doc: "The load balancer it serves." }),
    compute_id: seen("What the compute service calls it."),
    lb_network_ip: seen("Its management address."),
    vrrp_ip: seen("Its own address on the VIP's subnet."),
    ha_ip: seen("The VIP."),
    vrrp_port_id: seen("The port of its own address."),
    ha_port_id: seen("The port of the VIP."),
    cert_expiration: seen("When its certificate expires, UTC."),
    cert_busy: flag({ write: "never", default: false, doc: "Whether its certificate is being replaced." }),
    role: oneOf(["STANDALONE", "MASTER", "BACKUP"], { write: "never", doc: "Its part in the load balancer." }),
    status: oneOf(AMPHORA_STATUSES, { write: "never", doc: "How far it is." }),
    vrrp_interface: seen("The interface of its own address."),
    vrrp_id: optionalInteger(z.int(), { write: "never", doc: "The VRRP group." }),
    vrrp_priority: optionalInteger(z.int(), { write: "never", doc: "Its priority in the VRRP group." }),
    cached_zone: seen("The compute service's zone it was placed in."),
    created_at: common.createdAt,
    updated_at: common.updatedAt,
    image_id: seen("The image it was made from."),
    compute_flavor: seen("The compute service's flavor it was made with."),

    heartbeat_key: text(z.string(), { write: "internal", doc: "What its heartbeats are sealed with, hexadecimal." }),
    revision: integer(z.int(), { write: "internal", default: NEVER_SERVED, doc: "The revision it was last given." }),
    suspected_at: optionalInteger(z.int(), {
      write: "internal",
      doc: "Since when a controller misses it and none hears it, ms since 1970.",
    }),
    authorities: optionalText(z.string(), {
      write: "internal",
      doc: "The stamp of the authorities that its certificate and its trust are of.",
    }),
    cert_busy_since: optionalInteger(z.int(), { write: "internal", doc: "When cert_busy was set, ms since 1970." }),
    reporting: optionalText(z.string(), { write: "internal", doc: "Where it was told to send heartbeats; JSON." }),
    retiring: flag({ write: "internal", default: false, doc: "To be replaced by another." }),
  },
});

export type Amphora = Row<typeof amphora>;
