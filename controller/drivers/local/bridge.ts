/** Bridges of this host. */
import { createHash } from "node:crypto";
import { run } from "./command.ts";

/**
 * Has a bridge have an address of its own. Otherwise it has the lowest of its ports' addresses, another one whenever those
 * come and go, and neighbours that know the gateway send to nobody for up to a minute (br_stp_recalculate_bridge_id).
 * @param exists whether there is one already @param options of `ip link add`
 */
export async function makeBridge(name: string, exists: boolean, options: readonly string[] = []): Promise<void> {
  if (!exists) await run("ip", ["link", "add", name, ...options, "type", "bridge", "forward_delay", "0"]);
  await run("ip", ["link", "set", name, "address", addressOf(name)]);
}

/** The same for the same name; one that nobody was given (RFC 7042, 2.1: locally administered). */
function addressOf(name: string): string {
  const bytes = createHash("sha256").update(name).digest().subarray(0, 5);
  return ["02", ...[...bytes].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}
