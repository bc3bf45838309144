/** `amphora-agent connections`: what goes through this amphora now, on its own command line. It needs no agent. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type AmphoraSpec, parseSpec } from "../../templates/spec.ts";
import { type AgentSettings, readSettings } from "../settings.ts";
import { SpecFile } from "../spec-file.ts";
import { ConnectionsUsageError, parseConnectionsArgs } from "./command-line.ts";
import { sourcesOf } from "./connections.ts";
import { answer, parseQuestion } from "./question.ts";
import { view } from "./view.ts";

/**
 * Carries the command out, until it is done or the person has seen enough.
 * @returns the exit code: 1 when something could not be read
 */
export async function connectionsCommand(args: readonly string[]): Promise<number> {
  const { view: options, own, positionals } = parseConnectionsArgs(args, ["listener", "config"]);
  const [extra] = positionals;
  if (extra !== undefined) throw new ConnectionsUsageError(`connections takes no ${extra}`);
  const settings = await readSettings(own.config ?? "/etc/amphora/agent.json");
  const spec = await readSpec(settings);
  const query = new URLSearchParams(options.query);
  if (own.listener !== undefined) query.set("listener", requireListener(spec, own.listener));
  const { namespace, run_dir } = settings;
  const sources = sourcesOf(spec, { namespace, haproxySocket: `${run_dir}/haproxy-master.sock`, ring: null });
  const question = parseQuestion(query);
  return view(options, () => answer(question, spec, sources));
}

async function readSpec({ heartbeat_key_file, state_dir }: AgentSettings): Promise<AmphoraSpec> {
  const document = await new SpecFile(join(state_dir, "spec.json"), await readFile(heartbeat_key_file)).read();
  if (document === null) throw new ConnectionsUsageError("no spec has been applied on this instance yet");
  return parseSpec(document);
}

function requireListener({ listeners }: AmphoraSpec, listener: string): string {
  if (listeners.some(({ id }) => id === listener)) return listener;
  const ids = listeners.map(({ id, protocol, protocol_port }) => `  ${id}  ${protocol} ${protocol_port}`);
  throw new ConnectionsUsageError(`there is no listener ${listener}; there are\n${ids.join("\n")}`);
}
