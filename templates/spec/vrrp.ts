/** Several amphorae that serve one load balancer. */
import { z } from "zod";
import { ipAddress, macAddress, uuid } from "../fields.ts";

export const ROLES = ["STANDALONE", "MASTER", "BACKUP"] as const;

/** VRRP, version 3, unicast (RFC 9568): who holds the VIPs. Adverts are counted in hundredths of a second (5.2.7). */
export const vrrp = z.strictObject({
  id: z.int().min(1).max(255),
  priority: z.int().min(1).max(254),
  advert_interval_ms: z.int().min(10).max(40_950).multipleOf(10),
  peers: z
    .array(z.strictObject({ amphora_id: uuid, address: ipAddress }))
    .min(1)
    .describe("the other amphorae, at their own addresses on the first VIP's subnet"),
});

/** ACTIVE_ACTIVE: whoever holds the VIPs spreads their flows over all of them. */
export const replicas = z.strictObject({
  forwarding: z
    .enum(["DIRECT", "TUNNEL"])
    .describe("how a flow gets to its replica: as it came, to the replica's MAC address, or in VXLAN (RFC 7348)"),
  members: z
    .array(
      z.strictObject({
        amphora_id: uuid,
        slot: z.int().min(1).max(254).describe("the same as long as the replica is, whoever else comes and goes"),
        address: ipAddress,
        mac: macAddress,
      }),
    )
    .min(2)
    .max(32)
    .describe("every replica, this one among them, at its own address on the first VIP's subnet"),
});
