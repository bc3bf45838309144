/** The examples are read like a manual: each spec stands beside exactly what it renders to. */
import { globSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import t from "tap";
import { render } from "../../templates/render.ts";
import { parseSpec } from "../../templates/spec.ts";

const EXAMPLES = join(import.meta.dirname, "../../templates/examples");
const names = globSync("*/spec.json", { cwd: EXAMPLES })
  .map((file) => dirname(file))
  .sort();

t.ok(names.length >= 5, "there are examples");

for (const name of names) {
  t.test(`${name} renders to the files beside it, byte for byte`, async (t) => {
    const folder = join(EXAMPLES, name);
    const files = render(parseSpec(JSON.parse(await readFile(join(folder, "spec.json"), "utf8"))));
    if (process.env.UPDATE_EXAMPLES === "1") {
      for (const [path, { content }] of files) {
        await mkdir(dirname(join(folder, "files", path)), { recursive: true });
        await writeFile(join(folder, "files", path), content);
      }
    }
    const kept = globSync("**/*", { cwd: join(folder, "files"), withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(join(folder, "files/").length));
    t.strictSame(kept.sort(), [...files.keys()].sort(), "as many files");
    for (const [path, { content }] of files) {
      t.equal(content, await readFile(join(folder, "files", path), "utf8"), path);
    }
  });
}

t.test("configuration is for root alone", async (t) => {
  const spec = parseSpec(JSON.parse(await readFile(join(EXAMPLES, "http/spec.json"), "utf8")));
  for (const [path, { mode }] of render(spec)) t.equal(mode, 0o600, path);
});
