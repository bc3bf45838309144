/** What is counted as failed when tap does not say so. */
import { spawn } from "node:child_process";
import t from "tap";
import { type Outcome, runTap, type Start } from "../support/run-tap.ts";

const GOOD = `TAP version 14
# Subtest: a.test.ts
    ok 1 - this
    ok 2 - that
    1..2
ok 1 - a.test.ts
1..1`;
/** Beside a good file. */
const EMPTY = `${GOOD.replace(/1\.\.1$/, "")}# Subtest: b.test.ts
    1..0
ok 2 - b.test.ts
1..2`;

const ENDS: Record<string, { said: string; code: number; passed: number; failed: number; why?: RegExp }> = {
  "all is well": { said: GOOD, code: 0, passed: 2, failed: 0 },
  "it ends badly after good tests": { said: GOOD, code: 3, passed: 2, failed: 1, why: /^exit code 3/ },
  "it ends badly before its first word": { said: "", code: 1, passed: 0, failed: 1, why: /no test ran; exit code 1/ },
  "it has nothing to say": { said: "", code: 0, passed: 0, failed: 1, why: /no test ran/ },
  "it finds no test": { said: "TAP version 14\n1..0", code: 0, passed: 0, failed: 1, why: /no test ran/ },
  "one of two files has no test": { said: EMPTY, code: 0, passed: 2, failed: 1 },
  "a test fails": { said: GOOD.replace("ok 2", "not ok 2"), code: 1, passed: 1, failed: 1 },
};

for (const [name, { said, code, passed, failed, why }] of Object.entries(ENDS)) {
  t.test(name, async (t) => {
    const outcome = await runTap(["a.test.ts"], saying(said, code), 1);
    t.strictSame(counts(outcome), [passed, failed, failed]);
    if (why !== undefined) t.match(outcome.failures[0], { name: "a.test.ts", detail: why });
  });
}

function saying(text: string, code: number): Start {
  return (_, options) => spawn("sh", ["-c", 'printf "%s\\n" "$0"; exit "$1"', text, String(code)], options);
}

function counts({ passed, failed, failures }: Outcome): number[] {
  return [passed, failed, failures.length];
}
