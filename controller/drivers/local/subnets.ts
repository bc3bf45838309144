/** Subnets of the local network, as settings declare them, and the addresses that are taken on them. */
import { randomUUID } from "node:crypto";
import type { Trx } from "../../store/database.ts";
import type { PortRow } from "../../store/tables.ts";
import { NetworkRequestError, type Port, type VipRequest } from "../network.ts";
import { contains, type Range, rangeOf, toAddress, toNumber } from "./addresses.ts";

export interface Subnet {
  readonly id: string;
  readonly networkId: string;
  readonly cidr: string;
  readonly gateway: string;
  readonly mtu: number;
  /** the addresses that are given out unasked */
  readonly allocation: Range;
}

/** A subnet as settings spell it. */
export interface SubnetSettings {
  readonly id: string;
  readonly "network-id"?: string | undefined;
  readonly cidr: string;
  readonly gateway?: string | undefined;
  readonly "first-address"?: string | undefined;
  readonly "last-address"?: string | undefined;
  readonly mtu: number;
}

/** Subnets that can't be; the message names the setting. */
export class SubnetError extends Error {
  override readonly name = "SubnetError";
}

/**
 * @param setting what a part of the declaration is called, such as subnets.0.cidr
 * @throws {SubnetError} when the parts do not fit each other
 */
export function declareSubnet(settings: SubnetSettings, setting = (part: string) => part): Subnet {
  const range = rangeOf(settings.cidr);
  const host = (name: string, value: string | undefined, otherwise: bigint) => {
    const address = value ?? toAddress(otherwise, range.family);
    const isBroadcast = range.family === "ipv4" && toNumber(address) === range.last;
    if (!contains(range, address) || toNumber(address) === range.first || isBroadcast) {
      throw new SubnetError(`${setting(name)}: ${address} is no host's address in ${settings.cidr}`);
    }
    return address;
  };
  if (range.last - range.first < 7n)
    throw new SubnetError(`${setting("cidr")}: ${settings.cidr} has too few addresses, a /29 is the smallest`);
  const first = toNumber(host("first-address", settings["first-address"], range.first + 2n));
  const last = toNumber(host("last-address", settings["last-address"], range.last - 1n));
  if (first > last) throw new SubnetError(`${setting("first-address")}: comes after last-address`);
  return {
    id: settings.id,
    networkId: settings["network-id"] ?? settings.id,
    cidr: settings.cidr,
    gateway: host("gateway", settings.gateway, range.first + 1n),
    mtu: settings.mtu,
    allocation: { first, last, family: range.family },
  };
}

export class Subnets {
  readonly all: readonly Subnet[];
  readonly #default: string | null;

  /** @param defaultSubnet where a VIP goes that names no place; null: nowhere */
  constructor(all: readonly Subnet[], defaultSubnet: string | null) {
    this.all = all;
    this.#default = defaultSubnet;
  }

  find(id: string): Subnet | undefined {
    return this.all.find((subnet) => subnet.id === id);
  }

  /** @throws {NetworkRequestError} 400 */
  forVip(request: VipRequest): Subnet {
    if (request.vip_port_id !== "") throw new NetworkRequestError(400, `Port ${request.vip_port_id} not found.`);
    const subnet = this.#choose(request);
    if (request.vip_network_id !== "" && subnet.networkId !== request.vip_network_id) {
      throw new NetworkRequestError(400, `Subnet ${subnet.id} is not on network ${request.vip_network_id}.`);
    }
    const { vip_address: address } = request;
    if (address !== "" && !isHost(subnet, address)) {
      throw new NetworkRequestError(
        400,
        `Invalid input for field/attribute vip_address. Value: '${address}'. It must be the address of a host in ${subnet.cidr}, and not the gateway's.`,
      );
    }
    return subnet;
  }

  #choose(request: VipRequest): Subnet {
    const { vip_subnet_id, vip_network_id, vip_address } = request;
    if (vip_subnet_id !== "") {
      const subnet = this.find(vip_subnet_id);
      if (subnet === undefined) throw new NetworkRequestError(400, `Subnet ${vip_subnet_id} not found.`);
      return subnet;
    }
    const fits = (subnet: Subnet) => vip_address === "" || contains(rangeOf(subnet.cidr), vip_address);
    if (vip_network_id !== "") {
      const onNetwork = this.all.filter((subnet) => subnet.networkId === vip_network_id);
      const subnet = onNetwork.find(fits) ?? onNetwork[0];
      if (subnet === undefined) throw new NetworkRequestError(400, `Network ${vip_network_id} not found.`);
      return subnet;
    }
    const byDefault = this.#default === null ? undefined : this.find(this.#default);
    if (byDefault !== undefined && fits(byDefault)) return byDefault;
    const subnet = vip_address === "" ? byDefault : (this.all.find(fits) ?? byDefault);
    if (subnet !== undefined) return subnet;
    throw new NetworkRequestError(400, "VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id.");
  }
}

/**
 * Takes an address on a subnet, in the transaction: it is taken when that commits.
 * @param wanted empty: the first free one of the allocation range
 * @throws {NetworkRequestError} 409 when it is taken, or none is left
 */
export async function takeAddress(
  trx: Trx,
  subnet: Subnet,
  kind: PortRow["kind"],
  ownerId: string,
  wanted = "",
): Promise<PortRow> {
  for (;;) {
    const rows = await trx.selectFrom("ports").select("address").where("subnet_id", "=", subnet.id).execute();
    const taken = new Set(rows.map((row) => toNumber(row.address)));
    taken.add(toNumber(subnet.gateway));
    const value = wanted === "" ? firstFree(subnet, taken) : toNumber(wanted);
    if (taken.has(value))
      throw new NetworkRequestError(409, `IP address ${wanted} is already in use on subnet ${subnet.id}.`);
    const id = randomUUID();
    const row: PortRow = {
      id,
      subnet_id: subnet.id,
      address: toAddress(value, subnet.allocation.family),
      // locally administered; 40 bits of the id, so that thousands of ports hardly ever have two alike
      mac: `fa:${(id.slice(0, 8) + id.slice(9, 11)).replace(/..(?=.)/g, "$&:")}`,
      kind,
      owner_id: ownerId,
    };
    const { numInsertedOrUpdatedRows } = await trx
      .insertInto("ports")
      .values(row)
      .onConflict((conflict) => conflict.columns(["subnet_id", "address"]).doNothing())
      .executeTakeFirst();
    // else another transaction was quicker, and has committed: what it took is seen now
    if (numInsertedOrUpdatedRows === 1n) return row;
  }
}

function firstFree(subnet: Subnet, taken: ReadonlySet<bigint>): bigint {
  for (let value = subnet.allocation.first; value <= subnet.allocation.last; value++)
    if (!taken.has(value)) return value;
  throw new NetworkRequestError(409, `No more IP addresses available on subnet ${subnet.id}.`);
}

function isHost(subnet: Subnet, address: string): boolean {
  const range = rangeOf(subnet.cidr);
  if (!contains(range, address)) return false;
  const value = toNumber(address);
  const broadcast = range.family === "ipv4" && value === range.last;
  return value !== range.first && !broadcast && value !== toNumber(subnet.gateway);
}

/** A taken address with what belongs to its subnet. */
export function asPort(subnet: Subnet, row: PortRow): Port {
  return {
    id: row.id,
    network_id: subnet.networkId,
    subnet_id: subnet.id,
    address: row.address,
    prefix_length: Number(subnet.cidr.split("/")[1]),
    gateway: subnet.gateway,
    mac: row.mac,
    mtu: subnet.mtu,
  };
}
