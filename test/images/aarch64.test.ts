/** The image for aarch64, built on this machine: nothing of it is executed. */
import { readFile, stat } from "node:fs/promises";
import t from "tap";
import { sha256 } from "../../images/built.ts";
import { imageOf } from "../../images/manifest.ts";
import { imageUnderTest } from "../support/images.ts";

t.test("the aarch64 image is built, with programs of that architecture alone", async (t) => {
  const file = await imageUnderTest("aarch64");
  const text = await readFile(`${file}.cdx.json`, "utf8");
  t.equal(imageOf(text).sha256, await sha256(file));
  t.match(text, /pkg:deb\/debian\/haproxy@[^?]*\?arch=arm64/);
  t.ok((await stat(file)).size < 160e6, "it is small");
});
