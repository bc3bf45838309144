/** Bridges of this host. */
import { createHash } from "node:crypto";
import { CommandError, ipBatch, run } from "./command.ts";

/**
 * Has a bridge be up, with an address of the host's, and a hardware address of its own. Otherwise that is the lowest of its
 * ports', another one whenever those come and go, and neighbours that know the gateway send to nobody for up to a minute
 * (br_stp_recalculate_bridge_id).
 * @param prefix the host's address, such as 10.77.0.1/24 @param options of `ip link add`
 * @returns whether it had to be made: there may be one already, and several controllers may begin at once
 */
export async function makeBridge(name: string, prefix: string, options: readonly string[] = []): Promise<boolean> {
  const made = await add(name, options);
  try {
    await ipBatch([
      `link set ${name} address ${addressOf(name)}`,
      `address replace ${prefix} dev ${name}${prefix.includes(":") ? " nodad" : ""}`,
      `link set ${name} up`,
    ]);
  } catch (error) {
    if (made) await run("ip", ["link", "delete", name]);
    throw error;
  }
  return made;
}

async function add(name: string, options: readonly string[]): Promise<boolean> {
  try {
    await run("ip", ["link", "add", name, ...options, "type", "bridge", "forward_delay", "0"]);
    return true;
  } catch (error) {
    if (error instanceof CommandError && error.message.endsWith("File exists")) return false;
    throw error;
  }
}

/** The same for the same name; one that nobody was given (RFC 7042, 2.1: locally administered). */
function addressOf(name: string): string {
  const bytes = createHash("sha256").update(name).digest().subarray(0, 5);
  return ["02", ...[...bytes].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}
