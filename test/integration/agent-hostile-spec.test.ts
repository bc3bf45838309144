/** What a spec may hold, HAProxy takes, however hostile the strings and extreme the numbers are. */
import fc from "fast-check";
import type { Test } from "tap";
import { checkCertificates } from "../../agent/certificates.ts";
import { complaints } from "../../agent/dataplane/haproxy.ts";
import { problemsOf } from "../../agent/dataplane/haproxy-complaints.ts";
import { type AmphoraSpec, parseSpec, SpecError, type SpecProblem } from "../../templates/spec.ts";
import { arbitrarySpec } from "../support/arbitrary.ts";
import { haproxyCheck } from "../support/haproxy.ts";
import { onEachRelease } from "../support/haproxy-releases.ts";
import { hostileSpec } from "../support/hostile.ts";

onEachRelease("what HAProxy takes", async (_, haproxy) => haproxy, {
  "every hostile spec that is valid, or it is refused by the name of the string at fault": async (t, haproxy) => {
    const valid = hostileSpec.filter(({ document }) => parsed(document) !== null);
    for (const { path, document } of fc.sample(valid, 80)) {
      const problems = await problemsWith(parseSpec(document), haproxy);
      const place = path.replace(/\.(\d+)/g, "[$1]");
      if (problems.some((each) => each.path === "" || !place.startsWith(each.path)))
        t.fail(path, { problems, document });
    }
    t.pass("80 taken or refused");
  },
  "specs by chance, to the limits of every field": async (t, haproxy) => {
    await checkAll(t, fc.sample(arbitrarySpec, 60), haproxy);
  },
  "or refuses by the name of the part of the spec that it can't take": async (t, haproxy) => {
    const regexes = arbitrarySpec
      .map((spec) => structuredClone(spec))
      .filter((spec) => spec.admin_state_up && regexRules(spec).length > 0);
    for (const spec of fc.sample(regexes, 10)) {
      const [wrong] = regexRules(spec);
      if (wrong === undefined) throw new Error("there is none");
      Object.assign(wrong.rule, { value: "(" });
      t.match(await problemsWith(spec, haproxy), [{ path: wrong.path, message: /regex/ }]);
    }
  },
});

async function checkAll(t: Test, specs: readonly AmphoraSpec[], haproxy: string): Promise<void> {
  for (const spec of specs) {
    const { valid, said, config } = await haproxyCheck(spec, haproxy);
    if (!valid) t.fail(said.join("\n"), { config });
  }
  t.pass(`${specs.length} taken`);
}

/** What the agent would answer: none, when the spec is taken. */
async function problemsWith(spec: AmphoraSpec, haproxy: string): Promise<readonly SpecProblem[]> {
  try {
    checkCertificates(spec);
  } catch (error) {
    if (error instanceof SpecError) return error.problems;
    throw error;
  }
  const { valid, said, config } = await haproxyCheck(spec, haproxy);
  return valid ? [] : problemsOf(complaints(said.join("\n")), config, spec);
}

/** The rules that are regular expressions and in force. */
function regexRules(spec: AmphoraSpec) {
  return spec.listeners.flatMap((listener, i) =>
    !listener.admin_state_up || listener.redirect_listener_id !== null
      ? []
      : listener.l7policies.flatMap((policy, j) =>
          policy.rules.flatMap((rule, k) =>
            policy.admin_state_up && rule.admin_state_up && rule.compare_type === "REGEX"
              ? [{ rule, path: `listeners[${i}].l7policies[${j}].rules[${k}].value` }]
              : [],
          ),
        ),
  );
}

function parsed(document: unknown): AmphoraSpec | null {
  try {
    return parseSpec(document);
  } catch (error) {
    if (error instanceof SpecError) return null;
    throw error;
  }
}
