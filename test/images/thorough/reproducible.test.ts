/** Two builds of one commit. */
import { readdir, readFile } from "node:fs/promises";
import { basename } from "node:path";
import t from "tap";
import { sha256 } from "../../../images/built.ts";
import { build, imageUnderTest } from "../../support/images.ts";

for (const architecture of ["x86_64", "aarch64"] as const) {
  t.test(`two builds for ${architecture} are the same, byte by byte`, async (t) => {
    const one = await imageUnderTest(architecture);
    const folder = t.testdir();
    // times are of the commit, and not of the build
    const two = await build(architecture, folder);
    t.equal(await sha256(one), await sha256(two));
    t.equal(await readFile(`${one}.cdx.json`, "utf8"), await readFile(`${two}.cdx.json`, "utf8"));
    const name = basename(two);
    t.strictSame((await readdir(folder)).sort(), [name, `${name}.cdx.json`], "nothing else is left");
  });
}
