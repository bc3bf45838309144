/** Arithmetic on addresses of either family. */
import ipaddr from "ipaddr.js";

export interface Range {
  readonly first: bigint;
  readonly last: bigint;
  readonly family: "ipv4" | "ipv6";
}

export function toNumber(address: string): bigint {
  return ipaddr
    .parse(address)
    .toByteArray()
    .reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

export function toAddress(value: bigint, family: "ipv4" | "ipv6"): string {
  const length = family === "ipv4" ? 4 : 16;
  const bytes = Array.from({ length }, (_, i) => Number((value >> BigInt(8 * (length - 1 - i))) & 0xffn));
  return ipaddr.fromByteArray(bytes).toString();
}

export function family(address: string): "ipv4" | "ipv6" {
  return ipaddr.parse(address).kind();
}

/** Every address of a prefix, the network's own and the broadcast address included. */
export function rangeOf(cidr: string): Range {
  const [address, length] = ipaddr.parseCIDR(cidr);
  const bits = address.kind() === "ipv4" ? 32 : 128;
  const size = 1n << BigInt(bits - length);
  const first = (toNumber(address.toString()) / size) * size;
  return { first, last: first + size - 1n, family: address.kind() };
}

/** The first address of a network that a machine may have. */
export function hostAddress(cidr: string): string {
  const { first, family } = rangeOf(cidr);
  return toAddress(first + 1n, family);
}

export function contains(range: Range, address: string): boolean {
  const value = toNumber(address);
  return family(address) === range.family && value >= range.first && value <= range.last;
}

export function overlap(a: Range, b: Range): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}
