/**
 * The ways from this replica to the others (ACTIVE_ACTIVE). A packet that nftables has marked for one is routed to it as
 * it is, by a rule that comes before the one for local addresses: the VIP is local here, too.
 */
import { z } from "zod";
import { VXLAN_PORT } from "../../templates/ports.ts";
import { BUCKET_OFFSET, selfOf, tunnelMtu } from "../../templates/replicas.ts";
import type { AmphoraSpec } from "../../templates/spec.ts";
import { interfaceOf } from "../../templates/vips.ts";
import { ownersOf } from "../buckets.ts";
import { CommandError, run, runInside } from "./inside.ts";

/** The device that VXLAN's packets leave and enter by. */
const TUNNEL = "spread";
/** ip-rule(8): rules of ours, and the one for local addresses behind them, which is at 0 otherwise. */
const OURS = 100;
const LOCAL = 200;
/** Our routing tables have the numbers of slots, on top of this. */
const TABLES = 1000;

const FAMILIES = ["4", "6"] as const;
type Family = (typeof FAMILIES)[number];

const shownLinks = z.array(z.object({ ifname: z.string().optional() }));
const rule = z.object({ priority: z.int(), fwmark: z.string().optional(), iif: z.string().optional() });
export type Rule = z.output<typeof rule>;

/** Makes the ways as the spec wants them; without replicas there are none. @throws {CommandError} */
export async function applyReplicaRoutes(namespace: string, spec: AmphoraSpec): Promise<void> {
  if (spec.replicas !== null) await runInside(namespace, ["sysctl", "-q", "-w", ...settings(spec)]);
  await applyTunnel(namespace, spec);
  for (const family of FAMILIES) {
    const plan = rulePlan(await rulesOf(namespace, family), spec);
    const lines = [...wayLines(spec, family), ...plan];
    if (lines.length > 0) await run(["ip", "-n", namespace, `-${family}`, "-batch", "-"], { input: batch(lines) });
  }
}

function settings({ interfaces }: AmphoraSpec): string[] {
  return [
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    // clients' packets come by way of another replica (Documentation/networking/ip-sysctl.rst)
    ...["all", "default"].map((name) => `net.ipv4.conf.${name}.rp_filter=0`),
    // a client may be a neighbour of the replica: it is not to be told so
    ...["all", "default", ...interfaces.map(({ name }) => name)].map(
      (name) => `net.ipv4.conf.${name}.send_redirects=0`,
    ),
  ];
}

async function rulesOf(namespace: string, family: Family): Promise<Rule[]> {
  const text = await run(["ip", "-n", namespace, `-${family}`, "-j", "rule", "show"]);
  return z.array(rule).parse(JSON.parse(text || "[]"));
}

/**
 * The lines for `ip -batch` that turn the rules into what the spec wants. They are for what comes in: packets that leave
 * by the tunnel have their mark, too, when their way to the other end is looked up. Exported for tests.
 */
export function rulePlan(actual: readonly Rule[], spec: AmphoraSpec): string[] {
  const ours = new Set(actual.filter(({ priority }) => priority === OURS).map(selectorOf));
  const slots = othersOf(spec).map(({ slot }) => slot);
  const interfaces = new Set(spec.vips.map((vip) => interfaceOf(vip, spec.interfaces)?.name ?? ""));
  const wanted = new Set(slots.flatMap((slot) => [...interfaces].map((iif) => selectorOf({ fwmark: `${slot}`, iif }))));
  const has = (priority: number) => actual.some((each) => each.priority === priority);
  const plan: string[] = [];
  if (wanted.size > 0 && !has(LOCAL)) plan.push(`rule add pref ${LOCAL} lookup local`);
  if (wanted.size === 0 && !has(0)) plan.push("rule add pref 0 lookup local");
  for (const each of wanted) if (!ours.has(each)) plan.push(`rule add pref ${OURS} ${each}`);
  for (const each of ours) if (!wanted.has(each)) plan.push(`rule del pref ${OURS} ${each}`);
  if (wanted.size > 0 && has(0)) plan.push("rule del pref 0 lookup local");
  if (wanted.size === 0 && has(LOCAL)) plan.push(`rule del pref ${LOCAL} lookup local`);
  return plan;
}

function selectorOf({ fwmark, iif }: Pick<Rule, "fwmark" | "iif">): string {
  return `iif ${iif} fwmark ${Number(fwmark)} lookup ${TABLES + Number(fwmark)}`;
}

/**
 * Routes to neighbours that nobody but us knows, each at its replica's MAC address: nothing needs to be asked, and the
 * families of VIPs and replicas may differ.
 */
function wayLines(spec: AmphoraSpec, family: Family): string[] {
  const { replicas, vips, interfaces } = spec;
  const device = replicas?.forwarding === "TUNNEL" ? TUNNEL : (interfaceOf(vips[0] ?? "", interfaces)?.name ?? "");
  return othersOf(spec).flatMap(({ slot, mac }) => {
    const next = family === "4" ? `169.254.112.${slot}` : `fe80::112:${slot}`;
    const address = device === TUNNEL ? tunnelMac(slot) : mac;
    return [
      `neigh replace ${next} lladdr ${address} dev ${device} nud permanent`,
      `route replace default via ${next} dev ${device} onlink table ${TABLES + slot}`,
    ];
  });
}

/**
 * Whether `ip -j link show type vxlan` shows the tunnel. A kernel that has not loaded vxlan can't select by it: then ip
 * prints an empty object for each link of another type. Exported for tests.
 */
export function hasTunnel(links: string): boolean {
  return shownLinks.parse(JSON.parse(links || "[]")).some(({ ifname }) => ifname === TUNNEL);
}

/** RFC 7348. Nothing is learnt and nothing is flooded: the spec names everybody. */
async function applyTunnel(namespace: string, spec: AmphoraSpec): Promise<void> {
  const exists = hasTunnel(await run(["ip", "-n", namespace, "-j", "link", "show", "type", "vxlan"]));
  const self = selfOf(spec);
  if (spec.replicas?.forwarding !== "TUNNEL" || self === undefined) {
    if (exists) await run(["ip", "-n", namespace, "link", "del", TUNNEL]);
    return;
  }
  const lines = [
    ...(exists
      ? []
      : [`link add ${TUNNEL} type vxlan id 1 dstport ${VXLAN_PORT} local ${self.address} nolearning udpcsum`]),
    `link set ${TUNNEL} address ${tunnelMac(self.slot)} mtu ${tunnelMtu(spec)} up`,
  ];
  await run(["ip", "-n", namespace, "-batch", "-"], { input: batch(lines) });
  const ends = othersOf(spec).map(({ slot, address }) => `fdb replace ${tunnelMac(slot)} dev ${TUNNEL} dst ${address}`);
  await run(["bridge", "-n", namespace, "-batch", "-"], { input: batch(ends) });
}

function tunnelMac(slot: number): string {
  return `02:61:6d:70:68:${slot.toString(16).padStart(2, "0")}`;
}

function othersOf(spec: AmphoraSpec) {
  const self = selfOf(spec);
  return (spec.replicas?.members ?? []).filter((each) => each !== self);
}

/** Spreads flows over the replicas that serve. @param slots theirs, this one's among them @throws {CommandError} */
export async function setServing(namespace: string, slots: readonly number[]): Promise<void> {
  const owners = ownersOf(slots).map((slot, bucket) => `${BUCKET_OFFSET + bucket} : ${slot}`);
  const lines = [
    "flush set inet replicas serving",
    `add element inet replicas serving { ${slots.join(", ")} }`,
    "flush map inet replicas buckets",
    `add element inet replicas buckets { ${owners.join(", ")} }`,
  ];
  await runInside(namespace, ["nft", "-f", "-"], { input: batch(lines) });
}

/**
 * Puts the rules into force that spread flows; what is known of flows stays. An empty text takes them away.
 * @throws {CommandError} when the kernel refuses; then nothing has changed
 */
export async function applySpreading(namespace: string, rules: string): Promise<void> {
  const exists = (await runInside(namespace, ["nft", "list", "tables"])).split("\n").includes("table inet replicas");
  if (rules === "" && !exists) return;
  const load = (before: readonly string[]) =>
    runInside(namespace, ["nft", "-f", "-"], { input: `${batch(before)}${rules}` });
  const anew = exists ? ["delete table inet replicas"] : [];
  if (!exists || rules === "") {
    await load(anew);
    return;
  }
  try {
    await load(["flush table inet replicas", "flush set inet replicas macs"]);
  } catch (error) {
    // sets can't change their time-outs
    if (!(error instanceof CommandError)) throw error;
    await load(anew);
  }
}

function batch(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}
