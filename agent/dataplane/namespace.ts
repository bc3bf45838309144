/** The network namespace that belongs to the tenant: HAProxy lives there, the agent does not. */
import { access } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import ipaddr from "ipaddr.js";
import { z } from "zod";
import type { AmphoraSpec, InterfaceSpec } from "../../templates/spec.ts";
import { interfaceOf } from "../../templates/vips.ts";

const COMMAND_LIMIT = 10_000;

/** The network is not as the spec needs it (yet): worth another try. */
export class NetworkError extends Error {
  override readonly name = "NetworkError";
}

/** What `ip -j addr` says of a link, as far as it is needed. */
const link = z.object({
  ifname: z.string(),
  address: z.string().optional(),
  mtu: z.int(),
  flags: z.array(z.string()),
  addr_info: z.array(
    z.object({ family: z.string(), local: z.string().optional(), prefixlen: z.int(), scope: z.string() }),
  ),
});
const routeRow = z.object({
  dst: z.string(),
  gateway: z.string().optional(),
  dev: z.string().optional(),
  protocol: z.string().optional(),
});
export type Link = z.output<typeof link>;
export type Route = z.output<typeof routeRow>;

/**
 * Makes the namespace if it is missing, moves the spec's interfaces into it, and gives them their addresses and routes;
 * what the spec does not name is taken away. Interfaces that are to be plugged in are waited for, `patience` ms.
 * @throws {NetworkError} when an interface does not appear, or the kernel refuses
 */
export async function applyNetwork(namespace: string, spec: AmphoraSpec, patience = 5000): Promise<void> {
  await ensureNamespace(namespace);
  const deadline = Date.now() + patience;
  for (const wanted of spec.interfaces) {
    while (!(await adopt(namespace, wanted))) {
      if (Date.now() > deadline) throw new NetworkError(`no interface has the address ${wanted.mac} (${wanted.name})`);
      await sleep(50);
    }
  }
  const plan = networkPlan(await links(["-n", namespace]), await routes(namespace), spec);
  if (plan.length === 0) return;
  await sysctl(namespace, spec);
  await ip(["-n", namespace, "-batch", "-"], `${plan.join("\n")}\n`);
}

async function ensureNamespace(namespace: string): Promise<void> {
  const exists = await access(`/run/netns/${namespace}`).then(
    () => true,
    () => false,
  );
  if (exists) return;
  await ip(["netns", "add", namespace]);
  await ip(["-n", namespace, "link", "set", "lo", "up"]);
}

/** Whether the interface is in the namespace under its name, having moved it there if it could be found outside. */
async function adopt(namespace: string, wanted: InterfaceSpec): Promise<boolean> {
  const present = await links(["-n", namespace]);
  const inside = present.find((each) => each.address === wanted.mac);
  if (inside?.ifname === wanted.name) return true;
  const found = inside ?? (await links([])).find((each) => each.address === wanted.mac);
  if (found === undefined) return false;
  const holder = present.find((each) => each.ifname === wanted.name);
  // its turn to get its own name may come later, or it is about to be taken away
  if (holder !== undefined) await rename(namespace, holder.ifname, `was${holder.address?.replaceAll(":", "") ?? ""}`);
  if (inside !== undefined) await rename(namespace, found.ifname, wanted.name);
  else await ip(["link", "set", found.ifname, "netns", namespace, "name", wanted.name]);
  return true;
}

async function rename(namespace: string, from: string, to: string): Promise<void> {
  await ip(["-n", namespace, "link", "set", from, "down"]);
  await ip(["-n", namespace, "link", "set", from, "name", to]);
}

/**
 * The lines for `ip -batch` that turn what is into what the spec wants, and announce the VIPs of one that is alone. When
 * links come up the kernel announces every address to the neighbours (arp_notify, ndisc_notify), so that a VIP that moved
 * here is found at once. With VRRP, VIPs on the tenant's interfaces and the addresses that go with them are keepalived's
 * to add, announce and remove; replicas have VIPs on the loopback interface besides, where nobody asks for them.
 */
export function networkPlan(actual: readonly Link[], actualRoutes: readonly Route[], spec: AmphoraSpec): string[] {
  const plan = loopbackPlan(actual, spec);
  spec.interfaces.forEach((wanted) => {
    const now = actual.find((each) => each.ifname === wanted.name);
    const own = wanted.addresses.map(canonicalPrefix);
    const vips = spec.vips.filter((vip) => interfaceOf(vip, spec.interfaces) === wanted).map(hostPrefix);
    const holds = spec.vrrp === null && !spec.standby ? vips : [];
    const addresses = new Set([...own, ...holds]);
    const present = globalAddresses(now);
    const byVrrp = [...vips, ...wanted.shared_addresses.map(hostPrefix)];
    if (spec.vrrp !== null) for (const each of byVrrp) present.delete(each);
    const up = now?.flags.includes("UP") ?? false;
    const missing = [...addresses].filter((each) => !present.has(each));
    if (now?.mtu !== wanted.mtu) plan.push(`link set ${wanted.name} mtu ${wanted.mtu}`);
    // first the new ones: with its last address an interface loses its routes
    for (const each of missing) plan.push(addition(each, wanted.name, own.includes(each)));
    for (const each of present) if (!addresses.has(each)) plan.push(`address del ${each} dev ${wanted.name}`);
    if (!up) plan.push(`link set ${wanted.name} up`);
    // to an interface that is up addresses come unannounced, and neighbours may have asked another one that had the VIP:
    // the same hardware address once more has the kernel announce all
    else if (missing.length > 0 || holds.length > 0) plan.push(`link set ${wanted.name} address ${wanted.mac}`);

    const wantedRoutes = new Map(wanted.routes.map((each) => [networkOf(each.destination), canonical(each.via)]));
    const presentRoutes = new Map<string, string>();
    for (const each of actualRoutes) {
      if (each.dev !== wanted.name || each.gateway === undefined || each.protocol !== "static") continue;
      presentRoutes.set(routePrefix(each), canonical(each.gateway));
    }
    for (const [destination] of presentRoutes) {
      if (!wantedRoutes.has(destination)) plan.push(`route del ${destination} dev ${wanted.name} proto static`);
    }
    for (const [destination, via] of wantedRoutes) {
      if (presentRoutes.get(destination) === via) continue;
      plan.push(`route replace ${destination} via ${via} dev ${wanted.name} proto static`);
    }
  });
  return plan;
}

/** Replicas accept what is for the VIPs whoever holds them. Nothing else is on the loopback interface but its own addresses. */
function loopbackPlan(actual: readonly Link[], { replicas, vips }: AmphoraSpec): string[] {
  const present = globalAddresses(actual.find(({ ifname }) => ifname === "lo"));
  const wanted = new Set(replicas === null ? [] : vips.map(hostPrefix));
  return [
    ...[...wanted].filter((each) => !present.has(each)).map((each) => addition(each, "lo", false)),
    ...[...present].filter((each) => !wanted.has(each)).map((each) => `address del ${each} dev lo`),
  ];
}

function globalAddresses(link: Link | undefined): Set<string> {
  const all = link?.addr_info ?? [];
  return new Set(
    all
      .filter((each) => each.scope === "global" && each.local !== undefined)
      .map((each) => canonicalPrefix(`${each.local}/${each.prefixlen}`)),
  );
}

/** @param isOwn a VIP is for clients to connect to: deprecated, it is never a connection's source (RFC 6724, 5) */
function addition(address: string, device: string, isOwn: boolean): string {
  const options = address.includes(":") ? ` nodad${isOwn ? "" : " preferred_lft 0"}` : "";
  return `address add ${address} dev ${device}${options}`;
}

function hostPrefix(address: string): string {
  return canonicalPrefix(`${address}/${address.includes(":") ? 128 : 32}`);
}

function routePrefix({ dst, gateway = "" }: Route): string {
  const v6 = gateway.includes(":");
  if (dst === "default") return v6 ? "::/0" : "0.0.0.0/0";
  return canonicalPrefix(dst.includes("/") ? dst : `${dst}/${v6 ? 128 : 32}`);
}

function canonical(address: string): string {
  return ipaddr.parse(address).toString();
}

/** A prefix without its host bits, which no route may have. */
function networkOf(text: string): string {
  const { IPv4, IPv6 } = ipaddr;
  const network = text.includes(":") ? IPv6.networkAddressFromCIDR(text) : IPv4.networkAddressFromCIDR(text);
  return `${network.toString()}/${text.split("/")[1]}`;
}

function canonicalPrefix(text: string): string {
  const [address = "", length = ""] = text.split("/");
  return `${canonical(address)}/${length}`;
}

/** Settings of the namespace that a load balancer needs before its links come up. */
async function sysctl(namespace: string, { interfaces, replicas }: AmphoraSpec): Promise<void> {
  const settings = interfaces.flatMap(({ name }) => [
    // announce addresses when the link comes up (Documentation/networking/ip-sysctl.rst)
    `net.ipv4.conf.${name}.arp_notify=1`,
    `net.ipv6.conf.${name}.ndisc_notify=1`,
    // the second address of a subnet stays when the first is taken away
    `net.ipv4.conf.${name}.promote_secondaries=1`,
    // addresses and routes come from the spec alone
    `net.ipv6.conf.${name}.accept_ra=0`,
    // an address is answered for on its own interface only: replicas have the VIPs on the loopback interface
    `net.ipv4.conf.${name}.arp_ignore=1`,
    `net.ipv4.conf.${name}.arp_announce=2`,
    // clients' packets come to a replica by way of another one
    ...(replicas === null ? [] : [`net.ipv4.conf.${name}.rp_filter=0`]),
    // a VIP's listener may be bound before the VIP is here
    "net.ipv4.ip_nonlocal_bind=1",
    "net.ipv6.ip_nonlocal_bind=1",
  ]);
  if (replicas !== null) settings.push("net.ipv4.conf.all.rp_filter=0");
  await run("nsenter", [`--net=/run/netns/${namespace}`, "--", "sysctl", "-q", "-e", "-w", ...settings]);
}

async function links(where: readonly string[]): Promise<Link[]> {
  return z.array(link).parse(JSON.parse((await ip([...where, "-j", "address", "show"])) || "[]"));
}

async function routes(namespace: string): Promise<Route[]> {
  const tables = await Promise.all(["-4", "-6"].map((family) => ip(["-n", namespace, family, "-j", "route", "show"])));
  return tables.flatMap((text) => z.array(routeRow).parse(JSON.parse(text || "[]")));
}

function ip(args: readonly string[], input?: string): Promise<string> {
  return run("ip", args, input);
}

async function run(file: string, args: readonly string[], input?: string): Promise<string> {
  const result = await execa(file, args, {
    timeout: COMMAND_LIMIT,
    reject: false,
    ...(input === undefined ? { stdin: "ignore" } : { input }),
  });
  if (result.failed)
    throw new NetworkError(`${file} ${args.join(" ")}: ${result.stderr.trim() || result.shortMessage}`);
  return result.stdout;
}
