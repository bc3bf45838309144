/** Where an amphora's VIPs stand, and which of its own addresses stand beside them. */
import ipaddr from "ipaddr.js";
import type { AmphoraSpec, InterfaceSpec } from "./spec.ts";

/** The interface of a VIP: the one with an address of its subnet, or else the first one. */
export function interfaceOf(vip: string, interfaces: readonly InterfaceSpec[]): InterfaceSpec | undefined {
  return interfaces.find(({ addresses }) => addresses.some((prefix) => isInSubnet(vip, prefix))) ?? interfaces[0];
}

/**
 * The amphora's own address beside its first VIP, without a prefix length: other amphorae of the load balancer reach it
 * there. Null: it has none of that family.
 */
export function ownAddress({ vips, interfaces }: AmphoraSpec): string | null {
  const vip = vips[0] ?? "";
  const own = (interfaceOf(vip, interfaces)?.addresses ?? []).filter(
    (each) => each.includes(":") === vip.includes(":"),
  );
  return (own.find((prefix) => isInSubnet(vip, prefix)) ?? own[0])?.split("/")[0] ?? null;
}

/** The interface by which an address is reached: that of the longest prefix among subnets and routes; none without such. */
export function wayTo(address: string, interfaces: readonly InterfaceSpec[]): InterfaceSpec | undefined {
  const ways = interfaces
    .flatMap((each) =>
      [...each.addresses, ...each.routes.map(({ destination }) => destination)].map((to) => ({ each, to })),
    )
    .filter(({ to }) => isInSubnet(address, to))
    .map(({ each, to }) => ({ each, length: ipaddr.parseCIDR(to)[1] }));
  return ways.sort((a, b) => b.length - a.length)[0]?.each;
}

/** Whether the VIP is of a subnet of its interface: then neighbours and routers there know where it is. */
export function isOnSubnet(vip: string, interfaces: readonly InterfaceSpec[]): boolean {
  return interfaceOf(vip, interfaces)?.addresses.some((prefix) => isInSubnet(vip, prefix)) ?? false;
}

/** Whether the address is of the prefix's network. */
export function isInSubnet(text: string, prefix: string): boolean {
  const address = ipaddr.parse(text);
  const [network, length] = ipaddr.parseCIDR(prefix);
  return network.kind() === address.kind() && address.match(network, length);
}
