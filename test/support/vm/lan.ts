/** A network that test machines are plugged into: a bridge in the test's own namespace, where the test has an address too. */
import { execa } from "execa";
import type { Scope } from "../scope.ts";

let made = 0;

export class Lan {
  readonly bridge: string;
  #ports = 0;

  private constructor(bridge: string) {
    this.bridge = bridge;
  }

  /** @param addresses of the test itself, with prefix length, such as 10.0.1.10/24 */
  static async make(t: Scope, ...addresses: readonly string[]): Promise<Lan> {
    const lan = new Lan(`vmlan${++made}`);
    await ip("link", "add", lan.bridge, "type", "bridge");
    t.teardown(() => execa("ip", ["link", "delete", lan.bridge], { reject: false, timeout: 10_000 }));
    await ip("link", "set", lan.bridge, "up");
    for (const each of addresses) {
      await ip("address", "add", each, "dev", lan.bridge, ...(each.includes(":") ? ["nodad"] : []));
    }
    return lan;
  }

  /** A tap for one machine's interface. @returns its name */
  async plug(t: Scope): Promise<string> {
    const tap = `${this.bridge}p${++this.#ports}`;
    await ip("tuntap", "add", tap, "mode", "tap");
    t.teardown(() => execa("ip", ["link", "delete", tap], { reject: false, timeout: 10_000 }));
    await ip("link", "set", tap, "master", this.bridge, "up");
    return tap;
  }
}

/** Pulls a machine's cable out, or puts it back. */
export async function setLink(tap: string, state: "up" | "down"): Promise<void> {
  await ip("link", "set", tap, state);
}

async function ip(...args: readonly string[]): Promise<void> {
  await execa("ip", args, { timeout: 10_000 });
}
