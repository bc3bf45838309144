/** Every setting, declared once: its name (the same in a file and on the command line), rule, default and text. */
import { resolve } from "node:path";
import { z } from "zod";
import { HEARTBEAT_PORT } from "../agent/protocol.ts";
import { ipAddress, port, prefix, uuid } from "../templates/fields.ts";
import { hostAddress, rangeOf, toNumber } from "./drivers/local/addresses.ts";
import { quotaLimit } from "./model/quota.ts";
import { QUOTA_NAMES, type QuotaName } from "./model/resource.ts";
import { ROLES, roles } from "./roles.ts";

const name = z.string().min(1).max(255);
const fileOrNone = z.string().max(255);
/** As Keystone makes them, or as the operator names them. */
export const projectId = z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/, "must be a project's id");
const positive = z.int().min(1);

/** A network prefix: no host bits set. */
const cidr = prefix.refine((text) => isNetwork(text), "must be a network: no bits set behind the prefix length");

const subnet = z.strictObject({
  id: uuid,
  "network-id": uuid.optional(),
  cidr,
  gateway: ipAddress.optional(),
  "first-address": ipAddress.optional(),
  "last-address": ipAddress.optional(),
  mtu: z.int().min(1280).max(65_535).default(1500),
});

/** An HTTP URL that a path can follow. */
const serviceUrl = z
  .string()
  .max(1024)
  .refine((text) => isServiceUrl(text), "must be an http or https URL without user, query and fragment");

const keystone = z.strictObject({
  "auth-url": z.union([z.literal(""), serviceUrl]).default(""),
  username: name.default("amphora"),
  "password-file": fileOrNone.default(""),
  "user-domain": name.default("Default"),
  project: name.default("service"),
  "project-domain": name.default("Default"),
  "ca-file": fileOrNone.default(""),
  "cache-s": z.int().min(0).max(3600).default(60),
});

const qemu = z.strictObject({
  images: z.strictObject({ x86_64: fileOrNone.default(""), aarch64: fileOrNone.default("") }).prefault({}),
  acceleration: z.enum(["auto", "kvm", "tcg"]).default("auto"),
  "emulate-foreign": z.boolean().default(false),
});

/** Machines have no part in the host's loopback network. */
const QEMU_MANAGEMENT = "10.76.0.0/16";
/** A minute under emulation, several on a busy host (s). */
const QEMU_BOOT_LIMIT = 240;

const computeFlavor = z.strictObject({ name, cpus: positive, "memory-mib": positive });

/** The reference's sizes: small I and II, medium I and II, large I. */
const COMPUTE_FLAVORS = [
  { name: "601", cpus: 1, "memory-mib": 2048 },
  { name: "602", cpus: 2, "memory-mib": 4096 },
  { name: "603", cpus: 4, "memory-mib": 8192 },
  { name: "604", cpus: 8, "memory-mib": 16_384 },
  { name: "605", cpus: 16, "memory-mib": 32_768 },
];

function byQuota<T>(value: T): Record<QuotaName, T> {
  return Object.fromEntries(QUOTA_NAMES.map((each) => [each, value])) as Record<QuotaName, T>;
}

/** The subnet that there is when settings declare none. */
export const DEFAULT_SUBNET_ID = "5b1f6a2e-7d34-4c0b-9a51-0e77a4c5d001";

export interface Setting<T> {
  readonly schema: z.ZodType<T>;
  readonly default: T;
  readonly doc: string;
  /** how the value is called in help, such as PORT; absent: the setting is for files only, or a flag */
  readonly value?: string;
  /** as it stands in the example file, where the default alone does not show how it is written */
  readonly example?: string;
}

const setting = <T>(schema: z.ZodType<T>, options: Omit<Setting<NoInfer<T>>, "schema">): Setting<T> => ({
  schema,
  ...options,
});

export const SETTINGS = {
  port: setting(port, { default: 9876, value: "PORT", doc: "The API's port." }),
  listen: setting(ipAddress, { default: "127.0.0.1", value: "ADDRESS", doc: "The API's address." }),
  "data-dir": setting(name, {
    default: ".amphora",
    value: "DIR",
    doc: "Where everything is kept that must outlive the controller: database, authority, tokens, logs.",
  }),
  "admin-token": setting(z.string().regex(/^[\x21-\x7e]{0,512}$/, "must be printable ASCII without spaces"), {
    default: "",
    value: "TOKEN",
    doc: "The administrator's token. Empty: one is made up and kept in the file admin-token in data-dir.",
  }),
  "admin-project": setting(projectId, {
    default: "admin",
    doc: "The project that owns what is created with the administrator's token.",
  }),
  "tokens-file": setting(fileOrNone, {
    default: "",
    value: "FILE",
    doc: "More tokens, with identity static: a YAML file, closed to other users, read when the controller starts.",
    example: `  ""
  # The file holds a list:
  # - token: 5XhYhkZ0rYvT4mSgZ2Ww   # 16 to 512 characters, printable ASCII without spaces
  #   user: alice
  #   project: alpha                # the project's id; without one, the token is of no project
  #   roles: [load-balancer_member] # one of the roles of the README, or several
  #   system: false                 # true: for the deployment as a whole, without a project`,
  }),
  identity: setting(z.enum(["static", "keystone"]), {
    default: "static",
    value: "DRIVER",
    doc: "Whose tokens are accepted: static (the administrator's and those in tokens-file), or keystone (Keystone's).",
  }),
  keystone: setting(keystone, {
    default: keystone.parse({}),
    doc: "How Keystone is asked whose a token is, with identity keystone. Nothing is looked up in its catalogue.",
    example: `  auth-url: ""              # such as https://keystone.example.org:5000/v3
  username: amphora         # the controller's own user: it needs the role service, or admin, on the project
  password-file: ""         # holds the password alone, closed to other users; read again for each new token
  user-domain: Default
  project: service
  project-domain: Default
  ca-file: ""               # authorities of Keystone's certificate (PEM); empty: those that the system trusts
  cache-s: 60               # how long an answer is believed, and a revoked token may go on`,
  }),
  demo: setting(z.boolean(), { default: true, doc: "Whether `up` makes a demo load balancer with two web members." }),
  subnet: setting(cidr, {
    default: "10.77.0.0/24",
    value: "CIDR",
    doc: "The subnet of VIPs and members, where `subnets` declares none.",
  }),
  subnets: setting(z.array(subnet), {
    default: [],
    doc: "Subnets of the local network. Each has a bridge, whose address is the gateway.",
    example: `  - id: ${DEFAULT_SUBNET_ID}
    network-id: ${DEFAULT_SUBNET_ID}   # default: the subnet's id
    cidr: 10.77.0.0/24
    gateway: 10.77.0.1              # default: the first address
    first-address: 10.77.0.2        # default: the one after the first
    last-address: 10.77.0.254       # default: the last one
    mtu: 1500`,
  }),
  "default-subnet": setting(z.union([uuid, z.literal("")]), {
    default: "",
    doc: "The subnet of a VIP that names no place. Empty: the first one.",
  }),
  database: setting(name, {
    default: "sqlite",
    value: "URL",
    doc: "sqlite (a file in data-dir), or postgresql://user:password@host/name.",
  }),
  quotas: setting(z.strictObject(byQuota(quotaLimit.default(-1))), {
    default: byQuota(-1),
    doc: "How many of each kind a project may have, where it has no quota of its own; -1: any number.",
    example: QUOTA_NAMES.map((name) => `  ${name}: -1`).join("\n"),
  }),
  "compute-flavors": setting(z.array(computeFlavor), {
    default: COMPUTE_FLAVORS,
    doc: "The sizes of amphorae that a flavor's profile may name.",
    example: COMPUTE_FLAVORS.map(
      (each) => `  - { name: "${each.name}", cpus: ${each.cpus}, memory-mib: ${each["memory-mib"]} }`,
    ).join("\n"),
  }),
  "default-flavor": setting(z.union([uuid, z.literal("")]), {
    default: "",
    doc: "The flavor of a load balancer that names none. Empty: one amphora of the smallest size.",
  }),
  "default-availability-zone": setting(z.string().max(255), {
    default: "",
    doc: "The availability zone of a load balancer that names none. Empty: none.",
  }),
  compute: setting(z.enum(["local", "qemu", "noop"]), {
    default: "local",
    value: "DRIVER",
    doc: "What amphorae run on: local (this host), qemu (machines on this host, booted from images), or noop (nothing is driven: the API alone).",
  }),
  qemu: setting(qemu, {
    default: qemu.parse({}),
    doc: "Machines on this host, with compute qemu.",
    example: `  images:                  # empty: what \`npm run image\` has made of this version
    x86_64: ""
    aarch64: ""
  acceleration: auto       # kvm, tcg (emulation), or auto: KVM where it is found to boot a kernel
  emulate-foreign: false   # whether an availability zone may ask for the other architecture, which is many times slower`,
  }),
  network: setting(z.enum(["local", "noop"]), {
    default: "local",
    value: "DRIVER",
    doc: "What connects them: local (bridges on this host), or noop (any network, subnet, port and QoS policy is taken for real).",
  }),
  "compute-dir": setting(z.string().max(255), {
    default: "",
    doc: "Where amphorae on this host keep what is theirs. Controllers on one host share it. Empty: data-dir.",
  }),
  secrets: setting(z.enum(["local", "noop"]), {
    default: "local",
    value: "DRIVER",
    doc: "What keeps certificates and their keys: local (encrypted in the database, and Barbican's API under /key-manager), or noop (any reference is taken for real).",
  }),
  "secrets-key-file": setting(z.string().max(255), {
    default: "",
    value: "FILE",
    doc: "The key that secrets are encrypted with, 32 bytes in base64, mode 0600. Empty: secrets.key in data-dir, made at the first start. Controllers that share a database need the same.",
  }),
  haproxy: setting(name, {
    default: "/usr/sbin/haproxy",
    value: "FILE",
    doc: "The HAProxy that tries regular expressions of layer 7 rules before they are taken. Where there is none, amphorae find out.",
  }),
  "management-network": setting(cidr, {
    default: "127.77.0.0/16",
    doc: "Where the controller speaks with the agents. No tenant can reach it. With compute qemu: 10.76.0.0/16.",
  }),
  role: setting(roles, {
    default: ROLES.join(","),
    value: "ROLES",
    doc: "What this controller does, of api, reconciler and health, separated by commas. Several on one PostgreSQL share the work.",
  }),
  "heartbeat-listen": setting(ipAddress, {
    default: "127.0.0.1",
    doc: "Where heartbeats are received (UDP). With compute qemu: the first address of management-network.",
  }),
  "heartbeat-address": setting(z.union([ipAddress, z.literal("")]), {
    default: "",
    doc: "The address that amphorae send heartbeats to. Empty: heartbeat-listen.",
  }),
  "heartbeat-port": setting(port, { default: HEARTBEAT_PORT, value: "PORT", doc: "The port of heartbeats (UDP)." }),
  "heartbeat-interval-ms": setting(z.int().min(100).max(60_000), {
    default: 3000,
    doc: "Between two heartbeats of an amphora.",
  }),
  "silence-limit-ms": setting(z.int().min(300).max(3_600_000), {
    default: 10_000,
    doc: "After so long without a heartbeat an amphora is suspected: it is asked directly, and replaced if it is dead.",
  }),
  "failover-hold-count": setting(positive.max(1_000_000), {
    default: 5,
    doc: "While so many amphorae are silent, and they are failover-hold-share of all, the fault is taken to be here: none is replaced.",
  }),
  "failover-hold-share": setting(z.number().min(0).max(1), {
    default: 0.3,
    doc: "The share of silent amphorae, from 0 to 1, for failover-hold-count.",
  }),
  "failover-concurrency": setting(positive.max(1000), {
    default: 4,
    doc: "How many dead amphorae are replaced at a time.",
  }),
  "metrics-listen": setting(ipAddress, {
    default: "127.0.0.1",
    doc: "Where Prometheus reads metrics (GET /metrics, no token).",
  }),
  "metrics-port": setting(z.int().min(0).max(65_535), {
    default: 9877,
    value: "PORT",
    doc: "The port of metrics; 0: none.",
  }),
  "settle-wait-ms": setting(z.int().min(0).max(60_000), {
    default: 2000,
    doc: "How long a change of a load balancer waits for the one before it, until the answer is 409.",
  }),
  "pending-limit-s": setting(positive.max(86_400), {
    default: 300,
    doc: "After so long without success a load balancer goes from PENDING to ERROR. The work goes on all the same.",
  }),
  "boot-limit-s": setting(positive.max(3600), {
    default: 60,
    doc: "How long an amphora may take until it answers. With compute qemu: 240, for machines that are emulated.",
  }),
  "certificate-days": setting(positive.max(3650), {
    default: 30,
    doc: "How long an amphora's certificate is valid. It is renewed at half its life.",
  }),
  "vrrp-advert-ms": setting(z.int().min(10).max(40_950).multipleOf(10), {
    default: 200,
    doc: "Between two VRRP adverts of an amphora: another takes over some 3.6 times that after its death.",
  }),
  "replica-forwarding": setting(z.enum(["DIRECT", "TUNNEL"]), {
    default: "DIRECT",
    doc: "How flows get to the replicas of an ACTIVE_ACTIVE load balancer: DIRECT, or TUNNEL where ports are guarded.",
  }),
  concurrency: setting(positive.max(1000), { default: 16, doc: "How many load balancers are worked on at a time." }),
  "log-level": setting(z.enum(["trace", "debug", "info", "warn", "error"]), {
    default: "info",
    value: "LEVEL",
    doc: "The least severe messages in the log: trace, debug, info, warn or error.",
  }),
} as const satisfies Record<string, Setting<never> | Setting<unknown>>;

export type Settings = {
  readonly [K in keyof typeof SETTINGS]: (typeof SETTINGS)[K] extends Setting<infer T> ? T : never;
};

/** Settings that can't be used, or a command line that can't be understood. The message names the setting. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

/** Fills in defaults. @throws {SettingsError} naming each setting that is unknown or can't be */
export function checkSettings(given: Readonly<Record<string, unknown>>): Settings {
  const problems: string[] = [];
  const settings: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given)) {
    const known = Object.hasOwn(SETTINGS, key) ? SETTINGS[key as keyof typeof SETTINGS] : undefined;
    if (known === undefined) {
      problems.push(`${key}: there is no such setting`);
      continue;
    }
    const parsed = known.schema.safeParse(value);
    if (parsed.success) settings[key] = parsed.data;
    else problems.push(...parsed.error.issues.map((issue) => `${[key, ...issue.path].join(".")}: ${issue.message}`));
  }
  if (problems.length > 0) throw new SettingsError(problems.join("; "));
  const defaults = {
    ...Object.fromEntries(Object.entries(SETTINGS).map(([key, each]) => [key, each.default])),
    ...(settings.compute === "qemu" ? withQemu(settings) : {}),
  };
  // each value has passed the schema that its type is taken from
  const checked = { ...defaults, ...settings } as Settings;
  return { ...checked, "data-dir": resolve(checked["data-dir"]) };
}

/** The defaults of compute qemu. The host is the first in the management network, whichever it is. */
function withQemu(settings: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const network = String(settings["management-network"] ?? QEMU_MANAGEMENT);
  return {
    "management-network": network,
    "heartbeat-listen": hostAddress(network),
    "boot-limit-s": QEMU_BOOT_LIMIT,
  };
}

function isServiceUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return /^https?:$/.test(protocol) && [username, password, search, hash].every((part) => part === "");
}

function isNetwork(text: string): boolean {
  // that it is no prefix at all is told by another rule
  if (!prefix.safeParse(text).success) return true;
  return toNumber(text.slice(0, text.indexOf("/"))) === rangeOf(text).first;
}
