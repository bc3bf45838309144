/** The whole document, and the names of its parts' types. */
import { z } from "zod";
import { idleSeconds, ipAddress, uuid } from "../fields.ts";
import { listener } from "./listener.ts";
import { networkInterface } from "./network.ts";
import { pool } from "./pool.ts";
import { certificate } from "./tls.ts";
import { ROLES, replicas, vrrp } from "./vrrp.ts";

export const document = z.strictObject({
  revision: z.int().min(1).describe("raised by the controller with every change; an older one is refused"),
  amphora_id: uuid,
  loadbalancer_id: uuid,
  role: z.enum(ROLES).describe("STANDALONE: alone; else who begins as VRRP's master"),
  standby: z
    .boolean()
    .default(false)
    .describe("true: ready to serve, but without the VIPs: another amphora has them, or is about to take them"),
  vrrp: vrrp.nullable().default(null).describe("null: alone, the VIPs are always here unless it stands by"),
  replicas: replicas.nullable().default(null).describe("null: whoever holds the VIPs serves them alone"),
  admin_state_up: z.boolean().default(true).describe("false: nothing listens"),
  interfaces: z.array(networkInterface).default([]),
  vips: z
    .array(ipAddress)
    .min(1)
    .describe("where clients connect; each on the interface with an address of its subnet, or else the first one"),
  lvs_tcp_timeout: idleSeconds.default(300).describe("idle seconds of a FORWARD_TCP connection"),
  lvs_tcpfin_timeout: idleSeconds.default(120).describe("seconds of a FORWARD_TCP connection after a FIN"),
  lvs_udp_timeout: idleSeconds.default(300).describe("idle seconds of a UDP flow"),
  certificates: z.array(certificate).default([]),
  listeners: z.array(listener).default([]),
  pools: z.array(pool).default([]),
});

/** The document as a controller writes it: what has a default may be left out. */
export type AmphoraSpecInput = z.input<typeof document>;
/** The document with every default in place. */
export type AmphoraSpec = z.output<typeof document>;
export type ListenerSpec = AmphoraSpec["listeners"][number];
export type PoolSpec = AmphoraSpec["pools"][number];
export type MemberSpec = PoolSpec["members"][number];
export type HealthMonitorSpec = NonNullable<PoolSpec["health_monitor"]>;
export type InterfaceSpec = AmphoraSpec["interfaces"][number];
export type L7PolicySpec = ListenerSpec["l7policies"][number];
export type L7RuleSpec = L7PolicySpec["rules"][number];
export type CertificateSpec = AmphoraSpec["certificates"][number];
