/** Commands that run in the tenant's network namespace. */
import { execa } from "execa";

/** A command could not be run, failed, or took too long; the message holds what it said. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

export interface CommandOptions {
  /** what the command reads from its standard input */
  readonly input?: string;
  /** ms until it is given up */
  readonly timeout?: number;
}

/** The words that run a command inside a namespace. */
export function wordsInside(namespace: string, command: readonly string[]): [string, ...string[]] {
  return ["nsenter", `--net=/run/netns/${namespace}`, "--", ...command];
}

/** What the command wrote to its standard output. @throws {CommandError} when its exit code is not 0 */
export async function runInside(
  namespace: string,
  command: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  return run(wordsInside(namespace, command), options);
}

/** The same outside any tenant's namespace. @throws {CommandError} */
export async function run(
  [file, ...args]: readonly [string, ...string[]],
  { input, timeout = 10_000 }: CommandOptions = {},
): Promise<string> {
  const result = await execa(file, args, {
    timeout,
    reject: false,
    // what is read of the answers must not depend on who started the agent
    env: { LC_ALL: "C", TZ: "UTC" },
    ...(input === undefined ? { stdin: "ignore" } : { input }),
  });
  if (!result.failed) return result.stdout;
  const said = `${result.stderr}\n${result.stdout}`.trim() || result.shortMessage;
  throw new CommandError(`${[file, ...args].slice(0, 8).join(" ")}: ${said}`);
}
