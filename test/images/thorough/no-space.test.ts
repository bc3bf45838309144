/** A disk that fills up while an image is made. */
import { readdir } from "node:fs/promises";
import t from "tap";
import { fullFolder } from "../../support/full-folder.ts";
import { image } from "../../support/images.ts";

t.test("when no space is left the build says so, and leaves nothing", async (t) => {
  // the image alone is larger
  const out = await fullFolder(t, "size=40M");
  const { exitCode, stdout, stderr } = await image("--arch", "x86_64", "--out", out);
  t.match(stdout, /^root file system/m, "it has come so far");
  t.equal(exitCode, 1);
  t.match(stderr, /^amphora image: no space is left for [^\n]*$/);
  t.strictSame(await readdir(out), []);
});
