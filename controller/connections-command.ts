/** `amphora-controller connections`: a listener's connections over all of its amphorae, asked of the API. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { ConnectionsUsageError, parseConnectionsArgs } from "../agent/connections/command-line.ts";
import { view } from "../agent/connections/view.ts";
import { fileFault } from "../agent/faults.ts";
import { type Connection, type ConnectionsEnd, connection, MAX_LIMIT } from "../agent/protocol.ts";
import { SETTINGS } from "./settings.ts";

/** The API did not answer, or refused; the message says what it said. */
export class ApiRefusalError extends Error {
  override readonly name = "ApiRefusalError";
}

/** Every amphora may take a minute to read its table (ms). */
const LIMIT = 300_000;

const page = z.object({
  connections: z.array(connection),
  connections_links: z.array(z.object({ rel: z.string(), href: z.string() })),
  missing: z.array(z.object({ amphora_id: z.string(), reason: z.string() })),
});

/**
 * Carries the command out, until it is done or the person has seen enough.
 * @returns the exit code: 1 when an amphora could not be read
 * @throws {ConnectionsUsageError} @throws {ApiRefusalError}
 */
export async function connectionsCommand(args: readonly string[]): Promise<number> {
  const { view: options, own, positionals } = parseConnectionsArgs(args, ["api", "data-dir"]);
  const [listener, extra] = positionals;
  if (listener === undefined) throw new ConnectionsUsageError("connections needs a listener's id");
  if (extra !== undefined) throw new ConnectionsUsageError(`connections takes no ${extra}`);
  const api = own.api ?? `http://127.0.0.1:${SETTINGS.port.default}`;
  const token = process.env.OS_TOKEN ?? (await savedToken(own["data-dir"] ?? SETTINGS["data-dir"].default));
  const query = new URLSearchParams(options.query);
  query.set("limit", String(MAX_LIMIT));
  const first = `${api}/v2.0/lbaas/listeners/${encodeURIComponent(listener)}/connections?${query}`;
  return view(options, () => pages(first, token));
}

/** Page by page: so many connections at a time, however many there are. */
async function* pages(first: string, token: string): AsyncGenerator<readonly (Connection | ConnectionsEnd)[]> {
  const missing = new Set<string>();
  for (let url: string | undefined = first; url !== undefined; ) {
    const answer: z.output<typeof page> = await fetchPage(url, token);
    for (const { amphora_id, reason } of answer.missing) missing.add(`amphora ${amphora_id}: ${reason}`);
    yield answer.connections;
    const next: string | undefined = answer.connections_links.find(({ rel }) => rel === "next")?.href;
    // by the name that was asked: what the API calls itself may not be reached from here
    url = next === undefined ? undefined : first.replace(/\?.*/, next.slice(next.indexOf("?")));
  }
  yield [{ end: { next: null, missing: [...missing] } }];
}

async function fetchPage(url: string, token: string): Promise<z.output<typeof page>> {
  const [origin] = url.split("/v2.0", 1);
  const response = await fetch(url, {
    headers: { "x-auth-token": token },
    signal: AbortSignal.timeout(LIMIT),
  }).catch((error: Error) => {
    throw new ApiRefusalError(
      `${origin} does not answer: ${error.cause instanceof Error ? error.cause.message : error.message}`,
    );
  });
  const body: unknown = await response.json().catch(() => null);
  const parsed = page.safeParse(body);
  if (response.ok && parsed.success) return parsed.data;
  const fault = z.object({ faultstring: z.string() }).safeParse(body);
  throw new ApiRefusalError(fault.success ? fault.data.faultstring : `${origin} answered ${response.status}`);
}

async function savedToken(dataDir: string): Promise<string> {
  const file = join(dataDir, "admin-token");
  const text = await readFile(file, "utf8").catch((error: Error) => {
    throw new ConnectionsUsageError(`there is no token in OS_TOKEN, and none in ${file}: ${fileFault(error)}`);
  });
  return text.trim();
}
