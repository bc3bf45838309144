/** The image for x86_64: what is in it, and at work. */
import { readFile, stat } from "node:fs/promises";
import t from "tap";
import { sha256 } from "../../../images/built.ts";
import { checkImage } from "../../../images/check/check.ts";
import { imageOf } from "../../../images/manifest.ts";
import { imageUnderTest } from "../../support/images.ts";

t.test("the manifest is of this image, and names what an amphora needs and nothing else", async (t) => {
  const file = await imageUnderTest("x86_64");
  const text = await readFile(`${file}.cdx.json`, "utf8");
  t.equal(imageOf(text).sha256, await sha256(file));
  const { components } = JSON.parse(text) as { components: { name: string }[] };
  const names = components.map(({ name }) => name);
  for (const name of ["haproxy", "keepalived", "ipvsadm", "nftables", "conntrack", "zod"])
    t.ok(names.includes(name), name);
  for (const name of ["gcc", "openssh-server", "apt"]) t.notOk(names.includes(name), `no ${name}`);
  const megabytes = (await stat(file)).size / 1e6;
  t.ok(megabytes < 160, `${megabytes.toFixed(0)} MB`);
});

t.test("the image passes its check", async (t) => {
  const lines: string[] = [];
  const passed = await checkImage(await imageUnderTest("x86_64"), (line) => {
    lines.push(line);
    t.comment(line);
  });
  t.ok(passed, lines.at(-1) ?? "no step");
});
