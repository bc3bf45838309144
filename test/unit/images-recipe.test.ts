/** What an amphora on this host needs is in an image, and in a test machine, too. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { ARCHITECTURES } from "../../images/architectures.ts";
import { packagesFor } from "../../images/recipe.ts";
import * as vm from "../support/vm/recipe.ts";

/** For the controller's demo, and for people. */
const NOT_THE_AGENTS = ["curl"];

const needed = readFileSync(join(import.meta.dirname, "../../.setup/packages"), "utf8")
  .split("\n")
  .map((line) => line.split(/\s+/))
  .flatMap(([kind, name = ""]) => (kind === "run" && !NOT_THE_AGENTS.includes(name) ? [name] : []));

for (const architecture of ARCHITECTURES) {
  t.test(`every package that runs an amphora is in the recipes for ${architecture.name}`, async (t) => {
    t.ok(needed.includes("haproxy"));
    for (const name of needed) {
      t.ok(packagesFor(architecture).includes(name), `${name} in the image`);
      t.ok(vm.packagesFor(architecture).includes(name), `${name} in the test machine`);
    }
  });
}
