/** What an amphora's machine is told: a config drive, laid out as Nova does it. */
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BootstrapDocument } from "../../../agent/bootstrap/document.ts";
import type { Bootstrap } from "../compute.ts";
import { run } from "../local/command.ts";

export interface Told {
  readonly amphoraId: string;
  /** the machine's address in the management network, with the prefix's length */
  readonly address: string;
  readonly mac: string;
  readonly bootstrap: Bootstrap;
}

/** Writes the drive's file. It holds keys: nobody but root may read it. */
export async function writeConfigDrive(file: string, told: Told): Promise<void> {
  const scratch = await mkdtemp(`${file}-`);
  try {
    const latest = join(scratch, "drive/openstack/latest");
    await mkdir(latest, { recursive: true, mode: 0o700 });
    const secret = { mode: 0o600 };
    for (const [name, content] of Object.entries(filesOf(told))) {
      await writeFile(join(latest, name), JSON.stringify(content), secret);
    }
    const names = ["-ldots", "-allow-lowercase", "-allow-multidot", "-l", "-J", "-r"];
    const image = join(scratch, "drive.iso");
    // made by another program, in a folder that only root may enter, and then of the drive's mode
    await writeFile(image, "", secret);
    await run("genisoimage", ["-quiet", "-o", image, ...names, "-V", "config-2", join(scratch, "drive")]);
    await rename(image, file);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Exported for tests. */
export function filesOf({ amphoraId, address, mac, bootstrap }: Told): Record<string, unknown> {
  const document: BootstrapDocument = {
    amphora_id: amphoraId,
    ...bootstrap.reporting,
    heartbeat_key: bootstrap.heartbeatKey.toString("base64"),
    identity: bootstrap.identity,
    time_servers: [],
  };
  const type = address.includes(":") ? "ipv6" : "ipv4";
  const network = {
    links: [{ id: "management", type: "phy", ethernet_mac_address: mac }],
    networks: [{ id: "management", link: "management", type, ip_address: address, routes: [] }],
    services: [],
  };
  return { user_data: document, "network_data.json": network };
}
