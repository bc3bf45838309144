/** What controller and agent say to each other besides the spec. */
import { createHmac, type KeyObject, timingSafeEqual, X509Certificate } from "node:crypto";
import { isIPv6 } from "node:net";
import { z } from "zod";
import { ipAddress, port } from "../templates/fields.ts";

/** Where an agent listens for the controller, unless its settings say otherwise. */
export const AGENT_PORT = 9443;
/** Where a controller listens for heartbeats, unless its settings say otherwise. */
export const HEARTBEAT_PORT = 5555;

/** The name in the certificate that an agent obeys. */
export const CONTROLLER_NAME = "amphora-controller";
/** The name in the certificate of one amphora's agent. */
export const agentName = (amphoraId: string) => `${amphoraId}.amphora`;

/** How a spec reached the data plane, cheapest first. */
export const APPLY_WAYS = ["none", "runtime", "reload", "restart"] as const;
export type ApplyWay = (typeof APPLY_WAYS)[number];

/** Answer to `PUT /v1/spec`. */
export const applyAnswer = z.object({
  revision: z.int(),
  how: z.enum(APPLY_WAYS),
  duration_ms: z.number(),
});
export type ApplyAnswer = z.output<typeof applyAnswer>;

/** Answer to a request that failed. `problems` says where in the spec the fault lies. */
export const agentFault = z.object({
  error: z.object({
    code: z.int(),
    message: z.string(),
    problems: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  }),
});
export type AgentFault = z.output<typeof agentFault>;

/** Answer to `GET /v1/info`. */
export const agentInfo = z.object({
  amphora_id: z.string(),
  /** of the spec that runs now, 0 before the first */
  revision: z.int(),
  versions: z.record(z.string(), z.string()),
  capabilities: z.record(z.string(), z.boolean()),
  /** load averages over 1, 5, 15 minutes; memory in bytes; uptime in seconds */
  host: z.object({
    load: z.array(z.number()),
    cpus: z.int(),
    memory: z.object({ total: z.number(), available: z.number() }),
    uptime: z.number(),
  }),
});
export type AgentInfo = z.output<typeof agentInfo>;

export const MEMBER_STATES = ["UP", "DOWN", "DRAIN", "MAINT", "NO_CHECK"] as const;
export const LISTENER_STATES = ["OPEN", "FULL", "DOWN"] as const;
/**
 * What an amphora is in its VRRP group. FAULT: its interface is down, or HAProxy does not serve; DOWN: keepalived does not
 * run; WAITING: it was away, and waits to be brought up to date; STANDBY: it was told not to hold the VIPs.
 */
export const VRRP_STATES = ["MASTER", "BACKUP", "FAULT", "DOWN", "WAITING", "STANDBY"] as const;
export type VrrpState = (typeof VRRP_STATES)[number];
export type MemberState = (typeof MEMBER_STATES)[number];
export type ListenerState = (typeof LISTENER_STATES)[number];

/** Answer to `GET /v1/health`: what the data plane says of each part it serves. */
export const healthReport = z.object({
  revision: z.int(),
  listeners: z.record(z.string(), z.enum(LISTENER_STATES)),
  /** pool id -> member id -> state */
  pools: z.record(z.string(), z.record(z.string(), z.enum(MEMBER_STATES))),
  /** absent: alone */
  vrrp: z.object({ state: z.enum(VRRP_STATES) }).optional(),
  /** whether each of the other replicas serves, as seen from here; absent: there are none */
  replicas: z.record(z.string(), z.boolean()).optional(),
});
export type HealthReport = z.output<typeof healthReport>;

/** Totals since the amphora was made, over reloads and restarts; bytes; connections. */
export const counters = z.object({
  active_connections: z.int(),
  total_connections: z.int(),
  bytes_in: z.int(),
  bytes_out: z.int(),
  request_errors: z.int(),
});
export type Counters = z.output<typeof counters>;
export const NO_TRAFFIC: Counters = {
  active_connections: 0,
  total_connections: 0,
  bytes_in: 0,
  bytes_out: 0,
  request_errors: 0,
};

/** Answer to `GET /v1/stats`: listener id -> counters. */
export const statsReport = z.object({ listeners: z.record(z.string(), counters) });
export type StatsReport = z.output<typeof statsReport>;

export * from "./connections/protocol.ts";

/** Body of `PUT /v1/certificate`: PEM texts that replace the agent's own. */
export const certificateBundle = z.strictObject({
  certificate: z.string().min(1).max(65_536),
  key: z.string().min(1).max(65_536),
  /** those that the agent believes; several while one takes the place of another */
  ca: z.string().min(1).max(65_536),
});
export type CertificateBundle = z.output<typeof certificateBundle>;

/** The certificates in a text of PEM blocks. @throws {Error} when a block is no certificate, or there is none */
export function certificatesIn(text: string): X509Certificate[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [text];
  return blocks.map((block) => new X509Certificate(block));
}

/** Most controllers that an agent reports to. */
const MOST_CONTROLLERS = 16;

/** Body of `PUT /v1/reporting`: where heartbeats go from now on, and how often (ms). */
export const reporting = z.strictObject({
  controllers: z
    .array(z.strictObject({ address: ipAddress, port: port.default(HEARTBEAT_PORT) }))
    .min(1)
    .max(MOST_CONTROLLERS),
  heartbeat_interval_ms: z.int().min(100).max(60_000).default(3000),
});
export type Reporting = z.output<typeof reporting>;

/** The place of the first controller that an agent can't send to from its own address; null: there is none. */
export function unreachableController(from: string, { controllers }: Pick<Reporting, "controllers">): number | null {
  const index = controllers.findIndex(({ address }) => isIPv6(address) !== isIPv6(from));
  return index < 0 ? null : index;
}

const listenerCounters = z.tuple([z.string(), z.int(), z.int(), z.int(), z.int(), z.int()]);

/** A listener's counters, as a heartbeat has them. */
export function countersOf(id: string, counters: Counters): z.output<typeof listenerCounters> {
  const { active_connections, total_connections, bytes_in, bytes_out, request_errors } = counters;
  return [id, active_connections, total_connections, bytes_in, bytes_out, request_errors];
}

/** What a heartbeat says beyond who and when. */
export const heartbeatBody = z.object({
  revision: z.int(),
  /** of the health report; when it moves, the controller fetches the report */
  digest: z.string(),
  /** 1 minute load average */
  load: z.number(),
  /** counters of every listener, left out when they do not fit: [id, active, total, in, out, errors] */
  stats: z.array(listenerCounters).optional(),
});
export type HeartbeatBody = z.output<typeof heartbeatBody>;

export interface Heartbeat {
  readonly amphoraId: string;
  /** grows with every datagram of an amphora, over restarts too */
  readonly sequence: bigint;
  /** when it was made, milliseconds since 1970 */
  readonly time: number;
  readonly body: HeartbeatBody;
}

/** One unfragmented datagram over IPv6: 1,280 less 40 for IPv6 and 8 for UDP (RFC 8200, 5). */
export const HEARTBEAT_MAX_BYTES = 1232;
const MAGIC = Buffer.from("AMP1");
const MAGIC_NUMBER = MAGIC.readUInt32BE(0);
const HEADER_BYTES = 36;
const MAC_BYTES = 32;

/**
 * A datagram: "AMP1", amphora id (16 bytes), sequence and time (8 bytes each, big endian), body as JSON,
 * HMAC-SHA256 of all of it with the key of this amphora alone. Counters that do not fit are left out.
 */
export function encodeHeartbeat(heartbeat: Heartbeat, key: Buffer | KeyObject): Buffer {
  const datagram = seal(heartbeat, key);
  if (datagram.length <= HEARTBEAT_MAX_BYTES) return datagram;
  const { stats: _, ...body } = heartbeat.body;
  return seal({ ...heartbeat, body }, key);
}

function seal({ amphoraId, sequence, time, body }: Heartbeat, key: Buffer | KeyObject): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.write(amphoraId.replaceAll("-", ""), 4, "hex");
  header.writeBigUInt64BE(sequence, 20);
  header.writeBigUInt64BE(BigInt(time), 28);
  const signed = Buffer.concat([header, Buffer.from(JSON.stringify(body))]);
  return Buffer.concat([signed, mac(signed, key)]);
}

/** Whom a datagram claims to be from, before anything of it is believed; null when it is no heartbeat at all. */
export function claimedSender(datagram: Buffer): string | null {
  const fits = datagram.length >= HEADER_BYTES + MAC_BYTES + 2 && datagram.length <= HEARTBEAT_MAX_BYTES;
  if (!fits || datagram.readUInt32BE(0) !== MAGIC_NUMBER) return null;
  const hex = datagram.toString("hex", 4, 20);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The sequence number that a datagram claims, which is a heartbeat by `claimedSender`. */
export function claimedSequence(datagram: Buffer): bigint {
  return datagram.readBigUInt64BE(20);
}

/**
 * The heartbeat in a datagram that carries the amphora's seal; null when the seal or the body is not right.
 * @param key best as a key object: a buffer is made one each time, which takes longer than all the rest
 */
export function openHeartbeat(datagram: Buffer, key: Buffer | KeyObject): Heartbeat | null {
  const amphoraId = claimedSender(datagram);
  if (amphoraId === null) return null;
  const signed = datagram.subarray(0, -MAC_BYTES);
  if (!timingSafeEqual(mac(signed, key), datagram.subarray(-MAC_BYTES))) return null;
  const body = heartbeatBody.safeParse(parseJson(signed.toString("utf8", HEADER_BYTES)));
  if (!body.success) return null;
  return {
    amphoraId,
    sequence: claimedSequence(datagram),
    time: Number(datagram.readBigUInt64BE(28)),
    body: body.data,
  };
}

function mac(signed: Buffer, key: Buffer | KeyObject): Buffer {
  return createHmac("sha256", key).update(signed).digest();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
