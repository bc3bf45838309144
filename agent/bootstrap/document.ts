/**
 * The bootstrap document: what an instance is told when it first boots, and all that it is told from outside until a
 * controller speaks to it. Compute drivers write it as JSON, the agent's `bootstrap` command reads it.
 */
import { isIPv6 } from "node:net";
import { z } from "zod";
import { ipAddress, uuid } from "../../templates/fields.ts";
import { messageOf } from "../faults.ts";
import { checkIdentity, IdentityError } from "../identity.ts";
import { certificateBundle } from "../protocol.ts";
import { type AgentSettings, agentSettings } from "../settings.ts";

/** The file of the instance that the document is given as, where it does not come as the instance's user data. */
export const BOOTSTRAP_FILE = "/etc/amphora/bootstrap.json";
/** Nova takes 64 KiB of user data, base64 included. */
export const MAX_BOOTSTRAP_BYTES = 65_536;

const { controllers, heartbeat_interval_ms, listen } = agentSettings.shape;

export const bootstrapDocument = z.strictObject({
  amphora_id: uuid,
  controllers,
  heartbeat_interval_ms,
  heartbeat_key: z
    .base64()
    .refine((text) => Buffer.from(text, "base64").length >= 32, "must be 32 bytes or more, in base64")
    .describe("shared with the controllers"),
  identity: certificateBundle.describe("the agent's certificate and key, and the authority it obeys"),
  time_servers: z.array(ipAddress).default([]).describe("NTP servers, beside those that DHCP names"),
  listen: listen.optional().describe("where the agent serves the controller; every address when it is left out"),
});
export type BootstrapDocument = z.output<typeof bootstrapDocument>;

/** A bootstrap document that can't be used, or can't be had; the message says which, and why. */
export class BootstrapError extends Error {
  override readonly name = "BootstrapError";
}

/**
 * Reads a document and checks that an agent could live with it: the key fits the certificate, the authority signed it,
 * and it names this amphora. Whether it is valid today is not checked, as the clock may not be set yet.
 * @throws {BootstrapError} naming the field, what is wrong with it and what is allowed
 */
export function parseBootstrap(text: string): BootstrapDocument {
  if (text.length > MAX_BOOTSTRAP_BYTES) throw new BootstrapError(`has more than ${MAX_BOOTSTRAP_BYTES} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new BootstrapError(`is not JSON: ${messageOf(error)}`);
  }
  const parsed = bootstrapDocument.safeParse(json);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join(".") || "document"}: ${issue.message}`);
    throw new BootstrapError(faults.join("; "));
  }
  try {
    checkIdentity(parsed.data.identity, parsed.data.amphora_id);
  } catch (error) {
    if (error instanceof IdentityError) throw new BootstrapError(`identity.${error.message}`);
    throw error;
  }
  const settings = agentSettings.safeParse(settingsOf(parsed.data, "/"));
  if (settings.success) return parsed.data;
  const faults = settings.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  throw new BootstrapError(faults.join("; "));
}

/** The agent's settings that a document comes to. @param folder where its files are */
export function settingsOf(document: BootstrapDocument, folder: string): z.input<typeof agentSettings> {
  const { amphora_id, heartbeat_interval_ms } = document;
  const everywhere: AgentSettings["listen"]["address"] = isIPv6(document.controllers[0]?.address ?? "")
    ? "::"
    : "0.0.0.0";
  return {
    amphora_id,
    listen: document.listen ?? { address: everywhere },
    controllers: document.controllers,
    heartbeat_interval_ms,
    heartbeat_key_file: `${folder}/heartbeat.key`,
    identity_file: `${folder}/identity.json`,
  };
}
