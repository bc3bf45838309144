/**
 * Runs the tests: `npm test`, or `npm test -- FILE...` for some of them; `npm run test:images` for those that build
 * amphora images alone; with `--all` those too that take many minutes. Unit tests run side by side; every other file runs in
 * an enclosure of its own (see support/enclosure.ts), two at a time: many tests mostly wait.
 *
 * What can't run on a machine is left out only when it is named: `AMPHORA_SKIP_TESTS=test/e2e/fresh.test.ts,… npm test`.
 */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from "node:child_process";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { Parser, type Result } from "tap-parser";
import { startEnclosed } from "./support/enclosure.ts";
import { takeTheMachine } from "./support/lock.ts";

const ROOT = join(import.meta.dirname, "..");
const TAP = join(ROOT, "node_modules/.bin/tap");
/** A file that takes longer hangs (seconds). */
const FILE_LIMIT = 600;
/** Machines boot in a minute under emulation, and in several under that of another architecture. */
const EMULATED_LIMIT = 2400;
/** Of those that only `--all` runs. */
const THOROUGH = "test/images/thorough/";

interface Outcome {
  passed: number;
  failed: number;
  /** full name and what went wrong */
  failures: { name: string; detail: string }[];
  skipped: string[];
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { images: { type: "boolean", default: false }, all: { type: "boolean", default: false } },
  });
  const wanted = positionals.map((file) => relative(ROOT, join(process.cwd(), file)));
  const all = globSync("test/{unit,integration,e2e,vm,images}/**/*.test.ts", { cwd: ROOT }).sort();
  const left = new Set((process.env.AMPHORA_SKIP_TESTS ?? "").split(",").filter((name) => name !== ""));
  for (const name of left) if (!all.includes(name)) throw new Error(`AMPHORA_SKIP_TESTS names no test: ${name}`);
  const byDefault = (file: string) =>
    (!values.images || file.startsWith("test/images/")) && (values.all || !file.startsWith(THOROUGH));
  const chosen = all.filter(
    (file) => (wanted.length === 0 ? byDefault(file) : wanted.includes(file)) && !left.has(file),
  );
  if (chosen.length === 0) throw new Error(`there is no such test: ${wanted.join(" ")}`);
  if (chosen.some((file) => file.startsWith(THOROUGH)))
    execFileSync(".setup/ensure", ["foreign"], { cwd: ROOT, stdio: "inherit" });

  const total: Outcome = { passed: 0, failed: 0, failures: [], skipped: [] };
  const add = ({ passed, failed, failures, skipped }: Outcome) => {
    total.passed += passed;
    total.failed += failed;
    total.failures.push(...failures);
    total.skipped.push(...skipped);
  };
  const unit = chosen.filter((file) => file.startsWith("test/unit/"));
  if (unit.length > 0)
    add(
      await told(`${unit.length} unit test files`, () =>
        runTap(unit, ([program = "", ...args], options) => spawn(program, args, options)),
      ),
    );
  const alone = chosen.filter((file) => !unit.includes(file));
  const release = alone.length > 0 ? await takeTheMachine() : () => undefined;
  const heavy = alone.filter(isHeavy).map((file) => [file]);
  const api = alone.filter((file) => file.startsWith("test/integration/api-"));
  if (api.length > 1) heavy.unshift(api);
  const light = alone.filter((file) => !heavy.flat().includes(file)).map((file) => [file]);
  const work = async (...queues: string[][][]) => {
    for (const queue of queues) {
      for (let files = queue.shift(); files !== undefined; files = queue.shift()) {
        const [first = ""] = files;
        add(
          await told(files.length > 1 ? `${files.length} API test files` : first, () => runTap(files, startEnclosed)),
        );
      }
    }
  };
  const lanes = availableParallelism() > 1 ? [work(heavy, light), work(light)] : [work(heavy, light)];
  await Promise.all(lanes);
  release();

  for (const { name, detail } of total.failures) console.log(`\nFAILED: ${name}\n${detail}`);
  const skipped = total.skipped.length + left.size;
  for (const name of [...left, ...total.skipped]) console.log(`left out: ${name}`);
  const forAll = all.filter((file) => file.startsWith(THOROUGH) && !chosen.includes(file));
  if (wanted.length === 0) for (const file of forAll) console.log(`only with --all: ${file}`);
  console.log(`\n${total.passed} passed, ${total.failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  return total.failed === 0 ? 0 : 1;
}

/** Emulates a machine, which keeps all cores busy: no two of them at a time. */
function isHeavy(file: string): boolean {
  return file.startsWith("test/vm/") || file.startsWith("test/images/");
}

async function told(what: string, work: () => Promise<Outcome>): Promise<Outcome> {
  const started = performance.now();
  const outcome = await work();
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const counts = `${outcome.passed} passed${outcome.failed > 0 ? `, ${outcome.failed} FAILED` : ""}`;
  console.log(`${what.padEnd(48)} ${counts.padEnd(22)} ${seconds} s`);
  return outcome;
}

type Start = (command: readonly string[], options: SpawnOptions) => ChildProcess;

/** @param start how the tests' process is started */
function runTap(files: readonly string[], start: Start): Promise<Outcome> {
  const limit = files.some(isHeavy) ? EMULATED_LIMIT : FILE_LIMIT;
  const command = [TAP, "run", "--reporter=tap", "--disable-coverage", `--timeout=${limit}`, ...files];
  const outcome: Outcome = { passed: 0, failed: 0, failures: [], skipped: [] };
  return new Promise((resolve, reject) => {
    const child = start(command, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
    const parser = new Parser((results) => {
      // a file that died before its first test, or after its last one
      if (!results.ok && outcome.failed === 0) {
        outcome.failed++;
        outcome.failures.push({ name: files.join(" "), detail: JSON.stringify(results.failures, null, 2) });
      }
      resolve(outcome);
    });
    parser.on("child", (file: Parser) => count(file, outcome));
    child.on("error", reject);
    child.stdout?.pipe(parser);
  });
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
  file.on("complete", (results: { ok: boolean; failures: unknown[] }) => {
    if (results.ok || tests > 0) return;
    outcome.failed++;
    outcome.failures.push({ name: file.name, detail: JSON.stringify(results.failures, null, 2) });
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

process.exitCode = await main();
