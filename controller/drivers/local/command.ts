/** Running the host's own tools. */
import { execa } from "execa";

const LIMIT = 15_000;

/** A tool of the host failed; the message holds its words. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

/** Lines for `ip -batch`. @throws {CommandError} */
export async function ipBatch(lines: readonly string[]): Promise<void> {
  await run("ip", ["-batch", "-"], lines.map((line) => `${line}\n`).join(""));
}

/** @returns what it printed @throws {CommandError} */
export async function run(file: string, args: readonly string[], input?: string): Promise<string> {
  const result = await execa(file, args, {
    timeout: LIMIT,
    reject: false,
    ...(input === undefined ? { stdin: "ignore" } : { input }),
  });
  if (result.failed)
    throw new CommandError(`${file} ${args.join(" ")}: ${result.stderr.trim() || result.shortMessage}`);
  return result.stdout;
}
