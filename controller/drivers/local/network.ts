/**
 * The network of a deployment on one host: a bridge per subnet, with the host as its gateway. Everything is named after
 * the deployment, so that it can be found and removed again, whoever was killed in between.
 */
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import writeFileAtomic from "write-file-atomic";
import { z } from "zod";
import type { Trx } from "../../store/database.ts";
import type { PortRow } from "../../store/tables.ts";
import type { NetworkDriver, Port, VipRequest } from "../network.ts";
import { overlap, rangeOf } from "./addresses.ts";
import { makeBridge } from "./bridge.ts";
import { ipBatch, run } from "./command.ts";
import { asPort, type Subnet, SubnetError, type Subnets, takeAddress } from "./subnets.ts";

export interface LocalNetworkOptions {
  readonly subnets: Subnets;
  /** four hexadecimal digits that tell this deployment's links from others' */
  readonly deployment: string;
  /** what no tenant may reach, such as 127.77.0.0/16 */
  readonly managementNetwork: string;
  /** on tmpfs: remembers until the next boot what of the host's settings was changed */
  readonly runDir: string;
  readonly log: Logger;
}

const route = z.object({ dst: z.string(), dev: z.string().optional(), type: z.string().optional() });
const linkName = z.object({ ifname: z.string() });

export class LocalNetwork implements NetworkDriver {
  readonly #options: LocalNetworkOptions;
  readonly #table: string;
  readonly #bridgePrefix: string;
  /** lists the interfaces that forward only because of us */
  readonly #forwardingFile: string;
  #made = false;

  constructor(options: LocalNetworkOptions) {
    this.#options = options;
    this.#table = `amphora_${options.deployment}`;
    this.#bridgePrefix = `amb${options.deployment}`;
    this.#forwardingFile = join(options.runDir, "forwarding.json");
  }

  async reserveVip(trx: Trx, loadBalancerId: string, request: VipRequest): Promise<Port> {
    const subnet = this.#options.subnets.forVip(request);
    return asPort(subnet, await takeAddress(trx, subnet, "vip", loadBalancerId, request.vip_address));
  }

  reserveAmphoraPort(trx: Trx, amphoraId: string, subnetId: string): Promise<Port> {
    return this.#reserve(trx, "amphora", amphoraId, subnetId);
  }

  amphoraPorts(trx: Trx, amphoraId: string): Promise<Port[]> {
    return this.#ports(trx, "amphora", amphoraId);
  }

  reserveSharedPort(trx: Trx, loadBalancerId: string, subnetId: string): Promise<Port> {
    return this.#reserve(trx, "shared", loadBalancerId, subnetId);
  }

  sharedPorts(trx: Trx, loadBalancerId: string): Promise<Port[]> {
    return this.#ports(trx, "shared", loadBalancerId);
  }

  async #reserve(trx: Trx, kind: PortRow["kind"], ownerId: string, subnetId: string): Promise<Port> {
    const subnet = this.#require(subnetId);
    const held = await this.#ports(trx, kind, ownerId);
    const known = held.find(({ subnet_id }) => subnet_id === subnetId);
    return known ?? asPort(subnet, await takeAddress(trx, subnet, kind, ownerId));
  }

  async #ports(trx: Trx, kind: PortRow["kind"], ownerId: string): Promise<Port[]> {
    const all = trx.selectFrom("ports").selectAll();
    const rows = await all.where("owner_id", "=", ownerId).where("kind", "=", kind).execute();
    // what is on a subnet that settings no longer declare must not keep an amphora from being removed
    return rows.flatMap((row) => {
      const subnet = this.#options.subnets.find(row.subnet_id);
      return subnet === undefined ? [] : asPort(subnet, row);
    });
  }

  async releasePort(trx: Trx, portId: string): Promise<void> {
    await trx.deleteFrom("ports").where("id", "=", portId).execute();
  }

  /** An address for something else than load balancers, such as a demo member; the same one every time. */
  async reserveFor(trx: Trx, kind: PortRow["kind"], ownerId: string): Promise<Port> {
    const subnet = this.#options.subnets.forVip({
      vip_address: "",
      vip_port_id: "",
      vip_subnet_id: "",
      vip_network_id: "",
    });
    const known = await trx.selectFrom("ports").selectAll().where("owner_id", "=", ownerId).executeTakeFirst();
    return asPort(subnet, known ?? (await takeAddress(trx, subnet, kind, ownerId)));
  }

  async hasSubnet(subnetId: string): Promise<boolean> {
    return this.#options.subnets.find(subnetId) !== undefined;
  }

  /** This host's bridges know of none. */
  async hasQosPolicy(): Promise<boolean> {
    return false;
  }

  async release(trx: Trx, ownerId: string): Promise<void> {
    await trx.deleteFrom("ports").where("owner_id", "=", ownerId).execute();
  }

  /**
   * Makes the bridges and the rules of the host, as far as they are missing.
   * @throws {SubnetError} when a subnet collides with a route of the host
   */
  async start(): Promise<void> {
    await this.#checkRoutes();
    for (const subnet of this.#options.subnets.all) await this.#bridge(subnet);
    await run("nft", ["-f", "-"], this.#rules());
    await this.#forwardUplinks();
  }

  /** Whether `start` found a bridge missing, and made it: no other controller of this deployment has done so. */
  get made(): boolean {
    return this.#made;
  }

  /** Removes every link and rule that carries this deployment's name, and puts the host's settings back. */
  async stop(): Promise<void> {
    await run("nft", ["-f", "-"], `table inet ${this.#table} {}\ndelete table inet ${this.#table}\n`);
    for (const name of await this.#forwardingBecauseOfUs()) {
      await run("sysctl", ["-q", "-e", "-w", `net.ipv4.conf.${name}.forwarding=0`]);
    }
    await rm(this.#forwardingFile, { force: true });
    for (const name of await this.links()) await run("ip", ["link", "delete", name]);
  }

  /** This deployment's links on the host: bridges, and the host's ends of the pairs. */
  async links(): Promise<string[]> {
    const links = z.array(linkName).parse(JSON.parse(await run("ip", ["-j", "link", "show"])));
    const ours = new RegExp(`^am[bvt]${this.#options.deployment}`);
    return links.map((each) => each.ifname).filter((name) => ours.test(name));
  }

  /**
   * Puts a pair of links on the port's bridge, unless it is there. The free end has the port's MAC address.
   * @returns the name of the free end, as it is until somebody takes it
   */
  async attach(port: Port): Promise<string> {
    const { host, free } = this.#pair(port);
    await this.#connect(port, [
      `link add ${host} mtu ${port.mtu} type veth peer name ${free} address ${port.mac} mtu ${port.mtu}`,
    ]);
    return free;
  }

  /**
   * Puts a tap on the port's bridge, unless it is there.
   * @param user whose machine may use it
   */
  async attachTap(port: Port, user: number): Promise<void> {
    const name = this.tap(port);
    await this.#connect(port, [
      `tuntap add dev ${name} mode tap user ${user} vnet_hdr`,
      `link set ${name} mtu ${port.mtu}`,
    ]);
  }

  /** The name of a port's tap. */
  tap(port: Port): string {
    return this.#pair(port).host;
  }

  async #connect(port: Port, making: readonly string[]): Promise<void> {
    const { host } = this.#pair(port);
    if ((await this.links()).includes(host)) return;
    const bridge = this.#bridgeName(this.#require(port.subnet_id));
    await ipBatch([...making, `link set ${host} master ${bridge} up`]);
  }

  /** Removes a pair, wherever its free end is, or a tap. */
  async detach(port: Port): Promise<void> {
    const { host } = this.#pair(port);
    if ((await this.links()).includes(host)) await run("ip", ["link", "delete", host]);
  }

  #pair(port: Port): { host: string; free: string } {
    const rest = `${this.#options.deployment}${port.id.slice(0, 8)}`;
    return { host: `amv${rest}`, free: `amt${rest}` };
  }

  #require(subnetId: string): Subnet {
    const subnet = this.#options.subnets.find(subnetId);
    if (subnet === undefined)
      throw new SubnetError(`subnets: ${subnetId} is in use, but settings no longer declare it`);
    return subnet;
  }

  #bridgeName(subnet: Subnet): string {
    return `${this.#bridgePrefix}${subnet.id.slice(0, 6)}`;
  }

  async #checkRoutes(): Promise<void> {
    const tables = await Promise.all(["-4", "-6"].map((family) => run("ip", [family, "-j", "route", "show"])));
    const routes = tables.flatMap((text) => z.array(route).parse(JSON.parse(text || "[]")));
    for (const subnet of this.#options.subnets.all) {
      const range = rangeOf(subnet.cidr);
      const other = routes.find(
        ({ dst, dev = "" }) =>
          dst !== "default" &&
          !dev.startsWith(this.#bridgePrefix) &&
          overlap(range, rangeOf(dst.includes("/") ? dst : `${dst}/${dst.includes(":") ? 128 : 32}`)),
      );
      if (other !== undefined) {
        throw new SubnetError(
          `subnet ${subnet.cidr} collides with the host's route to ${other.dst} (${other.dev}): choose another with --subnet`,
        );
      }
    }
  }

  async #bridge(subnet: Subnet): Promise<void> {
    const name = this.#bridgeName(subnet);
    const prefix = `${subnet.gateway}/${subnet.cidr.split("/")[1]}`;
    if (await makeBridge(name, prefix, ["mtu", String(subnet.mtu)])) this.#made = true;
    await run("sysctl", ["-q", "-w", `net.ipv4.conf.${name}.forwarding=1`]);
  }

  /** Tenants reach the world through the host, but neither the management network nor are they reached from outside. */
  #rules(): string {
    const bridges = `"${this.#bridgePrefix}*"`;
    const subnets = this.#options.subnets.all.filter((subnet) => subnet.allocation.family === "ipv4");
    return [
      `table inet ${this.#table} {}`,
      `delete table inet ${this.#table}`,
      `table inet ${this.#table} {`,
      "  chain input {",
      "    type filter hook input priority filter; policy accept;",
      `    iifname ${bridges} ip daddr ${this.#options.managementNetwork} drop`,
      "  }",
      "  chain forward {",
      "    type filter hook forward priority filter; policy accept;",
      `    iifname != ${bridges} oifname ${bridges} ct state new drop`,
      "  }",
      "  chain postrouting {",
      "    type nat hook postrouting priority srcnat; policy accept;",
      ...subnets.map((subnet) => `    ip saddr ${subnet.cidr} oifname != ${bridges} masquerade`),
      "  }",
      "}",
      "",
    ].join("\n");
  }

  /** Answers from members beyond the host come in where its default route goes out. */
  async #forwardUplinks(): Promise<void> {
    const routes = z
      .array(route)
      .parse(JSON.parse((await run("ip", ["-4", "-j", "route", "show", "default"])) || "[]"));
    const uplinks = new Set(routes.flatMap(({ dev }) => (dev === undefined ? [] : [dev])));
    const ours = new Set(await this.#forwardingBecauseOfUs());
    for (const name of uplinks) {
      const now = await readFile(`/proc/sys/net/ipv4/conf/${name}/forwarding`, "utf8");
      if (now.trim() === "1") continue;
      ours.add(name);
      await mkdir(this.#options.runDir, { recursive: true, mode: 0o700 });
      await writeFileAtomic(this.#forwardingFile, JSON.stringify([...ours]));
      await run("sysctl", ["-q", "-w", `net.ipv4.conf.${name}.forwarding=1`]);
      this.#options.log.info({ interface: name }, "forwarding switched on until the controller stops");
    }
  }

  async #forwardingBecauseOfUs(): Promise<string[]> {
    const text = await readFile(this.#forwardingFile, "utf8").catch(() => "[]");
    return z.array(z.string()).parse(JSON.parse(text));
  }
}
