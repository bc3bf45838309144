/** amphora-controller: the REST API, the reconciler and the health receiver. */
import packageJson from "../package.json" with { type: "json" };
import { readCommandLine, settingsHelp } from "./command-line.ts";
import { needsRoot } from "./drivers/drivers.ts";
import { SettingsError } from "./settings.ts";

const help = () => `amphora-controller ${packageJson.version}: load balancing as a service

Usage:
  amphora-controller up [options]     everything on this host, with a demo; Ctrl-C removes it again
  amphora-controller run [options]    the service: logs to standard output, amphorae outlive it
  amphora-controller ca show|rotate [options]   the certificate authority: what there is, or another one in its place
  amphora-controller connections LISTENER [FILTER...] [--follow] [--top] [--json]
      the connections of a listener over all of its amphorae, asked of the API
      at --api URL (default http://127.0.0.1:9876) with the token in OS_TOKEN,
      else with that in --data-dir; filters and other options are those of
      amphora-agent connections, which amphora-agent --help shows
  amphora-controller --help | --version

Options:
${settingsHelp()}

settings.example.yaml, beside this program, explains every setting.`;

/** Used wrongly: exit code 2. */
class UsageError extends Error {}

async function main(args: readonly string[]): Promise<void> {
  // it has options of its own
  if (args[0] === "connections" && !args.includes("--help") && !args.includes("-h")) return connections(args.slice(1));
  const { positionals, help: wantsHelp, version, settings } = readCommandLine(args);
  const [command, ...more] = positionals;
  if (version) return say(packageJson.version);
  if (wantsHelp || command === undefined) return say(help());
  if (command === "ca" && more.length <= 1) {
    const { authorityCommand } = await import("./authority-command.ts");
    return await authorityCommand(more[0], settings, say);
  }
  if (more.length > 0) throw new UsageError(`${command} takes no ${more[0]}`);
  if (command !== "up" && command !== "run") throw new UsageError(`there is no command ${command}`);
  if (needsRoot(settings) && process.getuid?.() !== 0) {
    throw new SettingsError("must be run as root: it makes network namespaces, links and firewall rules");
  }
  if (command === "up") {
    const { up } = await import("./up/up.ts");
    await up(settings, say);
  } else {
    const { serve } = await import("./serve.ts");
    await serve(settings);
  }
}

async function connections(args: readonly string[]): Promise<void> {
  const [{ connectionsCommand }, { ConnectionsUsageError }] = await Promise.all([
    import("./connections-command.ts"),
    import("../agent/connections/command-line.ts"),
  ]);
  try {
    process.exitCode = await connectionsCommand(args);
  } catch (error) {
    throw error instanceof ConnectionsUsageError ? new UsageError(error.message) : error;
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

main(process.argv.slice(2)).then(
  () => process.exit(),
  (error: unknown) => {
    const expected = error instanceof Error && error.constructor !== TypeError && error.constructor !== Error;
    const text = error instanceof Error ? (expected ? error.message : (error.stack ?? error.message)) : String(error);
    process.stderr.write(`amphora-controller: ${text}\n`);
    process.exit(error instanceof UsageError ? 2 : 1);
  },
);
