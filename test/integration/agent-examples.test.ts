/** What the examples render to, every release of HAProxy takes without a complaint. */
import { globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Test } from "tap";
import { parseSpec } from "../../templates/spec.ts";
import { haproxyCheck } from "../support/haproxy.ts";
import { onEachRelease } from "../support/haproxy-releases.ts";

const EXAMPLES = join(import.meta.dirname, "../../templates/examples");
const files = globSync("*/spec.json", { cwd: EXAMPLES }).sort();

onEachRelease(
  "examples",
  async (_, haproxy) => haproxy,
  Object.fromEntries(
    files.map((file) => [
      dirname(file),
      async (t: Test, haproxy: string) => {
        const spec = parseSpec(JSON.parse(await readFile(join(EXAMPLES, file), "utf8")));
        const { valid, said } = await haproxyCheck(spec, haproxy);
        t.strictSame(said, []);
        t.ok(valid);
      },
    ]),
  ),
);
