/** `amphora-agent bootstrap`: makes an instance what its bootstrap document says, once. */
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { execa } from "execa";
import writeFileAtomic from "write-file-atomic";
import { settingsOf } from "./document.ts";
import { managementNetwork } from "./network.ts";
import type { Told } from "./openstack.ts";
import { readFolder, readSources } from "./sources.ts";

const COMMAND_LIMIT = 10_000;

export interface BootstrapOptions {
  /** the settings file, written last: it is there only when everything is */
  readonly config: string;
  /** where secrets go */
  readonly state: string;
  /** a folder laid out as a config drive, in place of looking for one */
  readonly from: string | null;
  /** systemd-networkd's folder, or null to leave the network alone */
  readonly network: string | null;
}

/** @throws {BootstrapError} when there is nothing to go by; then nothing was written */
export async function bootstrapCommand(options: BootstrapOptions, say: (line: string) => void): Promise<void> {
  const told = options.from === null ? await readSources() : await readFolder(options.from);
  // everything is read before anything is written
  const network = told.network === null ? null : managementNetwork(told.network);
  await writeAll(options, told, network);
  if (options.network !== null) {
    await execa("systemctl", ["reload", "systemd-networkd.service"], {
      timeout: COMMAND_LIMIT,
      reject: false,
      stdin: "ignore",
    });
  }
  say(`this is amphora ${told.document.amphora_id}`);
}

async function writeAll(options: BootstrapOptions, { document }: Told, network: string | null): Promise<void> {
  for (const folder of [options.state, dirname(options.config)]) await mkdir(folder, { recursive: true, mode: 0o700 });
  const secret = { mode: 0o600 };
  if (options.network !== null) await writeNetwork(options.network, network, document.time_servers);
  await writeFileAtomic(join(options.state, "identity.json"), JSON.stringify(document.identity), secret);
  await writeFileAtomic(join(options.state, "heartbeat.key"), Buffer.from(document.heartbeat_key, "base64"), secret);
  const settings = settingsOf(document, options.state);
  await writeFileAtomic(options.config, `${JSON.stringify(settings, null, 2)}\n`, secret);
}

async function writeNetwork(folder: string, network: string | null, timeServers: readonly string[]): Promise<void> {
  const name = "10-management.network";
  const readable = { mode: 0o644 };
  await mkdir(join(folder, `${name}.d`), { recursive: true });
  if (network !== null) await writeFileAtomic(join(folder, name), network, readable);
  if (timeServers.length === 0) return;
  const text = `[Network]\n${timeServers.map((address) => `NTP=${address}\n`).join("")}`;
  await writeFileAtomic(join(folder, `${name}.d/time.conf`), text, readable);
}
