/** Where heartbeats go: as the settings say, until a controller says otherwise; that is kept over restarts. */
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import writeFileAtomic from "write-file-atomic";
import { type Reporting, reporting, unreachableController } from "./protocol.ts";
import { RequestError } from "./server.ts";

/** What a controller said last, else what the settings say. */
export async function readReporting(file: string, settings: Reporting, log: Logger): Promise<Reporting> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (text === null) return settings;
  try {
    return reporting.parse(JSON.parse(text));
  } catch (error) {
    log.error({ err: error, file }, "what a controller said of heartbeats can't be read: the settings hold");
    return settings;
  }
}

/** @param from the address that heartbeats go out from @throws {RequestError} 422, naming the field */
export function parseReporting(body: unknown, from: string): Reporting {
  const parsed = reporting.safeParse(body);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new RequestError(422, `${issue?.path.join(".") || "body"}: ${issue?.message}`);
  }
  const index = unreachableController(from, parsed.data);
  if (index === null) return parsed.data;
  const { address } = parsed.data.controllers[index] ?? {};
  throw new RequestError(
    422,
    `controllers.${index}.address: ${address} can't be reached from ${from}: both must be IPv4, or both IPv6`,
  );
}

export async function writeReporting(file: string, given: Reporting): Promise<void> {
  await writeFileAtomic(file, JSON.stringify(given), { mode: 0o600 });
}
