/** amphora-agent: the program on every amphora. */

import { enableCompileCache } from "node:module";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import packageJson from "../package.json" with { type: "json" };
import { messageOf } from "./faults.ts";

const CONNECTIONS = `  amphora-agent connections [--listener ID] [FILTER...] [--follow] [--top] [--json]
      Shows the connections that go through this amphora, the newest first;
      ! marks those whose other side has not answered yet. Times are UTC.
      FILTERs are --client-src-ip, --client-src-port, --client-dst-ip,
      --client-dst-port, and the same with forward instead of client: the
      connection to the member. An address may be a prefix (192.0.2.0/24), a port
      a range (1024-2047).
      --follow          refresh until q or Ctrl-C
      --top             the same, the busiest first; --follow may be said, too
      --interval SEC    seconds between two looks (default 2)
      --limit ROWS      rows of a table (default 1000, or what the screen holds)
      --json            a line of JSON each; with --follow, what begins and ends
      --config FILE     settings of the agent (default /etc/amphora/agent.json)
`;

const HELP = `amphora-agent ${packageJson.version}: turns one spec into running HAProxy, keepalived and IPVS

Usage:
  amphora-agent run [--config FILE]
      Serves the controller until SIGTERM. HAProxy goes on without it.
      --config FILE     settings, JSON (default /etc/amphora/agent.json)

  amphora-agent bootstrap [--from DIR] [--network DIR]
      Makes a new instance an amphora: takes its settings, certificate and keys
      from its config drive, or from the metadata service.
      --config FILE     the settings to write (default /etc/amphora/agent.json)
      --state DIR       where secrets go (default /var/lib/amphora)
      --from DIR        a folder laid out as a config drive
      --network DIR     write the management network there, for systemd-networkd

  amphora-agent render SPEC --out DIR [--check]
      Writes the files of a spec below DIR: the same as on an instance, with
      neither root nor network. They hold the certificates and private keys of
      the spec, and only you may read them (mode 0600). SPEC is a file, or -
      for standard input.
      --check           have HAProxy read the result first, where there is one
      --haproxy PATH    that HAProxy (default /usr/sbin/haproxy)

${CONNECTIONS}
  amphora-agent --help | --version
`;

/** Used wrongly: exit code 2. */
class UsageError extends Error {}

async function main(args: string[]): Promise<void> {
  // it has options of its own
  if (args[0] === "connections" && !args.includes("--help") && !args.includes("-h")) return connections(args.slice(1));
  const { values, positionals } = parse(args);
  if (values.version) return print(packageJson.version);
  const [command, ...rest] = positionals;
  if (values.help || command === undefined) return print(HELP.trimEnd());
  if (command === "render") {
    const { renderCommand } = await import("./render-command.ts");
    const [spec, ...more] = rest;
    if (spec === undefined || more.length > 0) throw new UsageError("render takes one SPEC");
    if (values.out === undefined) throw new UsageError("render needs --out DIR");
    return renderCommand({ spec, out: values.out, check: values.check, haproxy: values.haproxy }, print);
  }
  if (command === "run") {
    if (rest.length > 0) throw new UsageError(`run takes no ${rest[0]}`);
    return run(values.config);
  }
  if (command === "bootstrap") {
    if (rest.length > 0) throw new UsageError(`bootstrap takes no ${rest[0]}`);
    const { bootstrapCommand } = await import("./bootstrap/command.ts");
    const { config, state, from = null, network = null } = values;
    return bootstrapCommand({ config, state, from, network }, print);
  }
  throw new UsageError(`there is no command ${command}`);
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        config: { type: "string", default: "/etc/amphora/agent.json" },
        from: { type: "string" },
        network: { type: "string" },
        state: { type: "string", default: "/var/lib/amphora" },
        out: { type: "string" },
        check: { type: "boolean", default: false },
        haproxy: { type: "string", default: "/usr/sbin/haproxy" },
        help: { type: "boolean", short: "h", default: false },
        version: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

async function connections(args: string[]): Promise<void> {
  enableCompileCache();
  const [{ connectionsCommand }, { ConnectionsUsageError }] = await Promise.all([
    import("./connections/command.ts"),
    import("./connections/command-line.ts"),
  ]);
  try {
    process.exitCode = await connectionsCommand(args);
  } catch (error) {
    throw error instanceof ConnectionsUsageError ? new UsageError(error.message) : error;
  }
}

async function run(config: string): Promise<void> {
  // an instance's memory is for connections: 20 MB live, yet V8 would keep 150 MB more before it collects
  setFlagsFromString("--semi-space-growth-factor=1");
  enableCompileCache();
  const [{ default: pino }, { readSettings }, { Agent }] = await Promise.all([
    import("pino"),
    import("./settings.ts"),
    import("./agent.ts"),
  ]);
  const settings = await readSettings(config);
  const log = pino({ name: "amphora-agent", base: { amphora: settings.amphora_id } });
  const agent = await Agent.make(settings, log);
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, "stopping");
    agent.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ err: error }, "stopping failed");
        process.exit(1);
      },
    );
  };
  // not once: signal-exit, which execa and write-file-atomic use, kills a process that has no listener of its own left
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  await agent.start();
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  const usage = error instanceof UsageError;
  const message = messageOf(error);
  // a RenderError names the file it speaks of, with a line for each fault (its module is loaded only for `render`)
  const named = error instanceof Error && error.name === "RenderError";
  process.stderr.write(`${named ? "" : "amphora-agent: "}${message}\n`);
  if (usage) process.stderr.write("amphora-agent --help tells what there is\n");
  process.exit(usage ? 2 : 1);
});
