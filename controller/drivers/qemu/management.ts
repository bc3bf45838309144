/**
 * The network in which the controller speaks with amphorae that are machines: a bridge of the host, on which no machine
 * hears another one. To the host they may send heartbeats, and answers; nothing passes through it.
 */
import { z } from "zod";
import { hostAddress } from "../local/addresses.ts";
import { makeBridge } from "../local/bridge.ts";
import { ipBatch, run } from "../local/command.ts";

export interface ManagementOptions {
  /** four hexadecimal digits that tell this deployment's links from others' */
  readonly deployment: string;
  /** such as 10.76.0.0/16 */
  readonly managementNetwork: string;
  /** where this controller receives heartbeats */
  readonly heartbeatPort: number;
}

const linkName = z.object({ ifname: z.string() });

export class ManagementNetwork {
  readonly #options: ManagementOptions;
  readonly #bridge: string;
  readonly #table: string;
  #made = false;

  constructor(options: ManagementOptions) {
    this.#options = options;
    this.#bridge = `amm${options.deployment}`;
    this.#table = `amphora_${options.deployment}_management`;
  }

  /** Makes the bridge and its rules, as far as they are missing. */
  async start(): Promise<void> {
    const { managementNetwork } = this.#options;
    await run("nft", ["-f", "-"], this.#rules());
    const prefix = `${hostAddress(managementNetwork)}/${managementNetwork.split("/")[1]}`;
    this.#made = await makeBridge(this.#bridge, prefix);
  }

  /** Whether `start` found no bridge, and had to make one. */
  get made(): boolean {
    return this.#made;
  }

  /** Removes the bridge, its rules, and every tap on it. */
  async stop(): Promise<void> {
    await run("nft", ["-f", "-"], `table inet ${this.#table} {}\ndelete table inet ${this.#table}\n`);
    for (const name of await this.#links()) await run("ip", ["link", "delete", name]);
  }

  /** An amphora's tap: there, or made. @param user whose machine may use it @returns its name */
  async attach(amphoraId: string, user: number): Promise<string> {
    const name = this.tap(amphoraId);
    if ((await this.#links()).includes(name)) return name;
    await ipBatch([
      `tuntap add dev ${name} mode tap user ${user} vnet_hdr`,
      `link set ${name} master ${this.#bridge} up`,
      `link set ${name} type bridge_slave isolated on`,
    ]);
    return name;
  }

  async detach(amphoraId: string): Promise<void> {
    const name = this.tap(amphoraId);
    if ((await this.#links()).includes(name)) await run("ip", ["link", "delete", name]);
  }

  /** The name of an amphora's tap. */
  tap(amphoraId: string): string {
    return `amn${this.#options.deployment}${amphoraId.slice(0, 8)}`;
  }

  async #links(): Promise<string[]> {
    const links = z.array(linkName).parse(JSON.parse(await run("ip", ["-j", "link", "show"])));
    const ours = new RegExp(`^am[mn]${this.#options.deployment}`);
    return links.map(({ ifname }) => ifname).filter((name) => ours.test(name));
  }

  /** Controllers of one deployment on one host have a port each. */
  #rules(): string {
    const { heartbeatPort } = this.#options;
    const bridge = `"${this.#bridge}"`;
    const table = `inet ${this.#table}`;
    return [
      `add table ${table}`,
      `add set ${table} heartbeat_ports { type inet_service; }`,
      `add element ${table} heartbeat_ports { ${heartbeatPort} }`,
      `add chain ${table} input { type filter hook input priority filter; policy accept; }`,
      `add chain ${table} forward { type filter hook forward priority filter; policy accept; }`,
      `flush chain ${table} input`,
      `flush chain ${table} forward`,
      `add rule ${table} input iifname ${bridge} ct state established,related accept`,
      `add rule ${table} input iifname ${bridge} udp dport @heartbeat_ports accept`,
      // IPv6 asks for neighbours with ICMP
      `add rule ${table} input iifname ${bridge} icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept`,
      `add rule ${table} input iifname ${bridge} drop`,
      `add rule ${table} forward iifname ${bridge} drop`,
      `add rule ${table} forward oifname ${bridge} drop`,
      "",
    ].join("\n");
  }
}
