/** What the examples promise is what the installed HAProxy takes. */
import { globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { haproxyCheck } from "../support/haproxy.ts";

const EXAMPLES = join(import.meta.dirname, "../../templates/examples");

for (const file of globSync("*/files/haproxy/haproxy.cfg", { cwd: EXAMPLES }).sort()) {
  t.test(`HAProxy takes ${file} without a complaint`, async (t) => {
    const { valid, said } = await haproxyCheck(await readFile(join(EXAMPLES, file), "utf8"));
    t.strictSame(said, []);
    t.ok(valid);
  });
}
