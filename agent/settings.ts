/** What an agent must know before a controller speaks to it: one JSON file, made by whatever boots the amphora. */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { ipAddress, port, uuid } from "../templates/fields.ts";
import { INSTANCE_LAYOUT } from "../templates/layout.ts";
import { fileFault } from "./faults.ts";
import { AGENT_PORT, reporting, unreachableController } from "./protocol.ts";

const path = z.string().startsWith("/");

export const agentSettings = z
  .strictObject({
    amphora_id: uuid,
    listen: z.strictObject({ address: ipAddress, port: port.default(AGENT_PORT) }),
    controllers: reporting.shape.controllers.describe("where heartbeats go, until a controller says otherwise"),
    heartbeat_interval_ms: reporting.shape.heartbeat_interval_ms,
    heartbeat_key_file: path.describe("32 bytes or more, shared with the controllers"),
    identity_file: path.describe(
      "the agent's certificate and key, and the authority it obeys; JSON as PUT /v1/certificate",
    ),
    namespace: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
      .default("amphora")
      .describe("the network namespace of the tenant's interfaces, HAProxy and keepalived"),
    config_dir: path.default("/etc/amphora"),
    // HAProxy takes sockets of at most 97 bytes, /haproxy-master.sock has 20
    run_dir: path.max(77).default("/run/amphora").describe("sockets and keys, on tmpfs"),
    state_dir: path.default("/var/lib/amphora").describe("what must outlive a reboot: the last applied spec"),
    haproxy: path.default("/usr/sbin/haproxy"),
    hard_stop_after_s: z
      .int()
      .min(1)
      .max(2_147_483)
      .default(INSTANCE_LAYOUT.haproxy.hardStopAfter)
      .describe("how long an old HAProxy worker may go on serving its connections after a reload"),
    keepalived: path.default("/usr/sbin/keepalived"),
    catch_up_limit_ms: z
      .int()
      .min(0)
      .max(600_000)
      .default(15_000)
      .describe("how long an amphora that was away waits for a controller before it may hold the VIPs again"),
  })
  .superRefine(({ listen, controllers }, context) => {
    const index = unreachableController(listen.address, { controllers });
    if (index === null) return;
    const message = `heartbeats go out from listen.address, ${listen.address}: both must be IPv4, or both IPv6`;
    context.addIssue({ code: "custom", path: ["controllers", index, "address"], message });
  });
export type AgentSettings = z.output<typeof agentSettings>;

/** Settings that can't be used; the message names the file, the field and what is allowed. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

/** @throws {SettingsError} */
export async function readSettings(file: string): Promise<AgentSettings> {
  let document: unknown;
  try {
    document = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new SettingsError(`${file}: ${fileFault(error)}`);
  }
  const parsed = agentSettings.safeParse(document);
  if (parsed.success) return parsed.data;
  throw new SettingsError(
    parsed.error.issues.map((issue) => `${file}: ${issue.path.join(".") || "document"}: ${issue.message}`).join("; "),
  );
}
