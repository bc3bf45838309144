/** Runs tap, and counts what its tests say. */
import type { ChildProcess, SpawnOptions } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { type FinalResults, Parser, type Result } from "tap-parser";

const ROOT = join(import.meta.dirname, "../..");
const TAP = join(ROOT, "node_modules/.bin/tap");

export interface Outcome {
  passed: number;
  failed: number;
  /** full name and what went wrong */
  failures: { name: string; detail: string }[];
  skipped: string[];
}

export type Start = (command: readonly string[], options: SpawnOptions) => ChildProcess;

/**
 * Runs test files. A file in which not a single test ran, or that tap ended badly after good tests, is a failure, too.
 * @param start how tap's process is started
 * @param limit for each file (seconds)
 */
export async function runTap(files: readonly string[], start: Start, limit: number): Promise<Outcome> {
  const command = [TAP, "run", "--reporter=tap", "--disable-coverage", `--timeout=${limit}`, ...files];
  const outcome: Outcome = { passed: 0, failed: 0, failures: [], skipped: [] };
  const child = start(command, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  const parsed = new Promise<FinalResults>((resolve) => {
    const parser = new Parser(resolve);
    parser.on("child", (file: Parser) => count(file, outcome));
    child.stdout?.pipe(parser);
  });
  const [results, [code]] = await Promise.all([parsed, once(child, "close")]);
  const none = outcome.passed + outcome.skipped.length === 0;
  // a file that died before its first test, or after its last one
  if (outcome.failed === 0 && (none || code !== 0 || !results.ok)) {
    const detail = `${none ? "no test ran; " : ""}exit code ${code}; ${JSON.stringify(results.failures, null, 2)}`;
    outcome.failed++;
    outcome.failures.push({ name: files.join(" "), detail });
  }
  return outcome;
}

/** Counts the tests of a file: the named ones, each with all its assertions. */
function count(file: Parser, outcome: Outcome): void {
  let tests = 0;
  const details = new Map<string, string[]>();
  file.on("child", (test: Parser) => collect(test, details, test.name));
  file.on("assert", (result: Result) => {
    tests++;
    if (result.skip) outcome.skipped.push(`${file.name}: ${result.name}`);
    else if (result.ok) outcome.passed++;
    else {
      outcome.failed++;
      const detail = details.get(result.name)?.join("\n") ?? explain(result);
      outcome.failures.push({ name: `${file.name}: ${result.name}`, detail });
    }
  });
  file.on("complete", ({ failures }: FinalResults) => {
    if (tests > 0) return;
    outcome.failed++;
    outcome.failures.push({ name: file.name, detail: `no test ran; ${JSON.stringify(failures, null, 2)}` });
  });
}

function collect(test: Parser, details: Map<string, string[]>, name: string): void {
  test.on("child", (deeper: Parser) => collect(deeper, details, name));
  test.on("assert", (result: Result) => {
    if (result.ok || result.name === test.name) return;
    details.set(name, [...(details.get(name) ?? []), explain(result)]);
  });
}

function explain({ name, diag }: Result): string {
  const { diff, stack, at, message, type, found, wanted } = (diag ?? {}) as Record<string, unknown>;
  const place = typeof at === "object" && at !== null ? JSON.stringify(at) : "";
  const values = diff ?? (found === undefined ? "" : JSON.stringify({ found, wanted }, null, 2));
  return [`  ${name}`, message ?? type, values, stack ?? place].filter(Boolean).join("\n    ");
}
