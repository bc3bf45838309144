/** The management interface as Nova describes it (network_data.json), for systemd-networkd. */
import ipaddr from "ipaddr.js";
import { z } from "zod";
import { ipAddress, prefix } from "../../templates/fields.ts";
import { messageOf } from "../faults.ts";
import { BootstrapError } from "./document.ts";

const mac = z
  .string()
  .toLowerCase()
  .regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/, "must be a MAC address");
const route = z.object({ network: ipAddress, netmask: ipAddress, gateway: ipAddress });
const networkData = z.object({
  links: z.array(z.object({ id: z.string(), ethernet_mac_address: mac, mtu: z.int().min(68).max(65_535).nullish() })),
  networks: z
    .array(
      z.object({
        link: z.string(),
        // such as ipv4, ipv4_dhcp, ipv6, ipv6_slaac, ipv6_dhcpv6-stateful
        type: z.string(),
        ip_address: z.string().optional(),
        netmask: ipAddress.optional(),
        routes: z.array(route).default([]),
      }),
    )
    .default([]),
  services: z.array(z.object({ type: z.string(), address: ipAddress })).default([]),
});

/**
 * The .network file of the first interface: it is the management one, as tenants' are plugged in later and belong to
 * the agent alone.
 * @returns null when there is no interface
 * @throws {BootstrapError} naming the field at fault
 */
export function managementNetwork(text: string): string | null {
  const data = parse(text);
  const [link] = data.links;
  if (link === undefined) return null;
  const networks = data.networks.filter((each) => each.link === link.id);
  const fixed = networks.filter(({ type }) => type === "ipv4" || type === "ipv6");
  const dhcp4 = networks.some(({ type }) => type === "ipv4_dhcp");
  const dhcp6 = networks.some(({ type }) => type.startsWith("ipv6_"));

  const lines = ["[Match]", `MACAddress=${link.ethernet_mac_address}`, "", "[Network]"];
  lines.push(`DHCP=${dhcp4 && dhcp6 ? "yes" : dhcp4 ? "ipv4" : dhcp6 ? "ipv6" : "no"}`);
  lines.push(`IPv6AcceptRA=${dhcp6 ? "yes" : "no"}`, "LinkLocalAddressing=ipv6");
  for (const each of data.services) if (each.type === "dns") lines.push(`DNS=${each.address}`);
  for (const each of fixed) lines.push(`Address=${prefixOf(each)}`);
  if (link.mtu != null) lines.push("", "[Link]", `MTUBytes=${link.mtu}`);
  for (const each of fixed.flatMap(({ routes }) => routes)) {
    const destination = `${each.network}/${lengthOf(each.netmask)}`;
    lines.push("", "[Route]", `Destination=${destination}`, `Gateway=${each.gateway}`);
  }
  return `${lines.join("\n")}\n`;
}

function parse(text: string): z.output<typeof networkData> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new BootstrapError(`network_data.json: is not JSON: ${messageOf(error)}`);
  }
  const parsed = networkData.safeParse(json);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  throw new BootstrapError(`network_data.json: ${faults.join("; ")}`);
}

/** An address comes with a netmask, or with a prefix length. */
function prefixOf(network: { ip_address?: string | undefined; netmask?: string | undefined }): string {
  const { ip_address = "", netmask } = network;
  const text = netmask === undefined || ip_address.includes("/") ? ip_address : `${ip_address}/${lengthOf(netmask)}`;
  if (prefix.safeParse(text).success) return text;
  throw new BootstrapError(`network_data.json: ip_address: ${JSON.stringify(ip_address)} is no address with a netmask`);
}

function lengthOf(netmask: string): number {
  const length = ipaddr.parse(netmask).prefixLengthFromSubnetMask();
  if (length === null) throw new BootstrapError(`network_data.json: netmask: ${netmask} is no netmask`);
  return length;
}
