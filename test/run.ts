/**
 * Runs the tests: `npm test`, or `npm test -- FILE...` for some of them; `npm run test:images` for those that build
 * amphora images alone; with `--all` those too that take many minutes. Unit tests run side by side; every other file runs in a
 * network namespace of its own, one after the other, and what it leaves behind is removed and told as a failure.
 *
 * What can't run on a machine is left out only when it is named: `AMPHORA_SKIP_TESTS=test/e2e/fresh.test.ts,… npm test`.
 */
import { execFileSync, spawn } from "node:child_process";
import { globSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { Parser, type Result } from "tap-parser";
import { takeTheMachine } from "./support/lock.ts";
import { dropNamespace, makeNamespace, namespaceNames } from "./support/namespaces.ts";

const ROOT = join(import.meta.dirname, "..");
const TAP = join(ROOT, "node_modules/.bin/tap");
/** A file that takes longer hangs (seconds). */
const FILE_LIMIT = 600;
/** Images boot in a minute under emulation, and in several under that of another architecture. */
const IMAGES_LIMIT = 2400;
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
  if (unit.length > 0) add(await told(`${unit.length} unit test files`, () => runTap(unit, [])));
  const alone = chosen.filter((file) => !unit.includes(file));
  const release = alone.length > 0 ? await takeTheMachine() : () => undefined;
  const api = alone.filter((file) => file.startsWith("test/integration/api-"));
  if (api.length > 1) add(await told(`${api.length} API test files`, () => runAlone(api)));
  for (const file of api.length > 1 ? alone.filter((file) => !api.includes(file)) : alone) {
    add(await told(file, () => runAlone([file])));
  }
  release();

  for (const { name, detail } of total.failures) console.log(`\nFAILED: ${name}\n${detail}`);
  const skipped = total.skipped.length + left.size;
  for (const name of [...left, ...total.skipped]) console.log(`left out: ${name}`);
  const forAll = all.filter((file) => file.startsWith(THOROUGH) && !chosen.includes(file));
  if (wanted.length === 0) for (const file of forAll) console.log(`only with --all: ${file}`);
  console.log(`\n${total.passed} passed, ${total.failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  return total.failed === 0 ? 0 : 1;
}

async function told(what: string, work: () => Promise<Outcome>): Promise<Outcome> {
  const started = performance.now();
  const outcome = await work();
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const counts = `${outcome.passed} passed${outcome.failed > 0 ? `, ${outcome.failed} FAILED` : ""}`;
  console.log(`${what.padEnd(48)} ${counts.padEnd(22)} ${seconds} s`);
  return outcome;
}

/** Files in a namespace of their own: one, or several that don't mind each other. */
async function runAlone(files: readonly string[]): Promise<Outcome> {
  const before = new Set(await namespaceNames());
  const name = await makeNamespace();
  try {
    return await runTap(files, ["nsenter", `--net=/run/netns/${name}`, "--"]);
  } finally {
    await dropNamespace(name);
    const leftBehind = (await namespaceNames()).filter((each) => !before.has(each));
    for (const each of leftBehind) await dropNamespace(each);
    if (leftBehind.length > 0) console.log(`${files.join(" ")} left namespaces behind: ${leftBehind.join(" ")}`);
  }
}

function runTap(files: readonly string[], prefix: readonly string[]): Promise<Outcome> {
  const limit = files.some((file) => file.startsWith("test/images/")) ? IMAGES_LIMIT : FILE_LIMIT;
  const tap = [TAP, "run", "--reporter=tap", "--disable-coverage", `--timeout=${limit}`, ...files];
  const [command = "", ...args] = [...prefix, ...tap];
  const outcome: Outcome = { passed: 0, failed: 0, failures: [], skipped: [] };
  return new Promise((resolve, reject) => {
    // a test that needs the world outside its namespace finds it here
    const env = { ...process.env, AMPHORA_TEST_OUTSIDE: `/proc/${process.pid}/ns/net` };
    const child = spawn(command, args, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"], env });
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
    child.stdout.pipe(parser);
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
