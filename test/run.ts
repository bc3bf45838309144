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
import { startEnclosed } from "./support/enclosure.ts";
import { takeTheMachine } from "./support/lock.ts";
import { type Outcome, runTap } from "./support/run-tap.ts";

const ROOT = join(import.meta.dirname, "..");
/** A file that takes longer hangs (seconds). */
const FILE_LIMIT = 600;
/** Machines boot in a minute under emulation, and in several under that of another architecture. */
const EMULATED_LIMIT = 2400;
/** Of those that only `--all` runs. */
const THOROUGH = "test/images/thorough/";

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
        runTap(unit, ([program = "", ...args], options) => spawn(program, args, options), FILE_LIMIT),
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
          await told(files.length > 1 ? `${files.length} API test files` : first, () =>
            runTap(files, startAlone, files.some(isHeavy) ? EMULATED_LIMIT : FILE_LIMIT),
          ),
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

/** tap empties its folder as it begins, also under another tap's feet: inside of an enclosure it has one of its own. */
const OWN_FOLDER = `
  mkdir -p .tap && mount -t tmpfs -o mode=755 tap /mnt || exit 1
  [ ! -d .tap/plugins ] || cp -a .tap/plugins /mnt || exit 1
  mount --move /mnt .tap && exec "$@"`;

function startAlone(command: readonly string[], options: SpawnOptions): ChildProcess {
  return startEnclosed(["sh", "-c", OWN_FOLDER, "sh", ...command], options);
}

process.exitCode = await main();
