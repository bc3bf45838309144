/** The amphora's place in the tenant's network. */
import { z } from "zod";
import { ipAddress, macAddress, prefix } from "../fields.ts";

const route = z.strictObject({
  destination: prefix,
  via: ipAddress,
});

export const networkInterface = z.strictObject({
  name: z
    .string()
    .regex(/^(?!(?:lo|all|default)$)[a-z][a-z0-9]{0,14}$/, "must be a short interface name such as eth1")
    .describe("what the interface is called inside the namespace"),
  mac: macAddress.describe("how the interface is recognised when it is plugged in"),
  mtu: z.int().min(1280).max(65_535).default(1500),
  addresses: z
    .array(prefix)
    .describe("the amphora's own addresses; the first of a family is the source of its connections"),
  routes: z.array(route).default([]),
  shared_addresses: z
    .array(ipAddress)
    .default([])
    .describe(
      "addresses that come and go with the VIPs: what members behind this interface see of IPVS, whoever has those",
    ),
});
