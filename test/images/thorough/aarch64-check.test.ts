/** The image of the other architecture, under emulation: minutes. */
import t from "tap";
import { checkImage } from "../../../images/check/check.ts";
import { imageUnderTest } from "../../support/images.ts";

t.test("the aarch64 image passes its check", async (t) => {
  const lines: string[] = [];
  const passed = await checkImage(await imageUnderTest("aarch64"), (line) => {
    lines.push(line);
    t.comment(line);
  });
  t.ok(passed, lines.at(-1) ?? "no step");
});
