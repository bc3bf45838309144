/** What a spec may hold, the installed HAProxy takes, however hostile the strings and extreme the numbers are. */
import fc from "fast-check";
import t, { type Test } from "tap";
import { HAPROXY_CFG, render } from "../../templates/render.ts";
import { type AmphoraSpec, parseSpec, SpecError } from "../../templates/spec.ts";
import { arbitrarySpec } from "../support/arbitrary.ts";
import { haproxyCheck } from "../support/haproxy.ts";
import { hostileSpec } from "../support/hostile.ts";

t.test("HAProxy takes every hostile spec that is valid", async (t) => {
  const valid = hostileSpec.map(({ document }) => parsed(document)).filter((spec) => spec !== null);
  await checkAll(t, fc.sample(valid, 30));
});

t.test("HAProxy takes specs by chance, to the limits of every field", async (t) => {
  await checkAll(t, fc.sample(arbitrarySpec, 30));
});

async function checkAll(t: Test, specs: readonly AmphoraSpec[]): Promise<void> {
  for (const spec of specs) {
    const config = render(spec).get(HAPROXY_CFG)?.content ?? "";
    const { valid, said } = await haproxyCheck(config);
    if (!valid) t.fail(said.join("\n"), { config });
  }
  t.pass(`${specs.length} taken`);
}

function parsed(document: unknown): AmphoraSpec | null {
  try {
    return parseSpec(document);
  } catch (error) {
    if (error instanceof SpecError) return null;
    throw error;
  }
}
