/** Nothing that a tenant types becomes a directive: a string is refused, or it is one word where one word stood. */
import fc from "fast-check";
import t from "tap";
import { backendName } from "../../templates/haproxy/names.ts";
import { HAPROXY_CFG, render } from "../../templates/render.ts";
import { type AmphoraSpec, parseSpec, SpecError } from "../../templates/spec.ts";
import { arbitrarySpec } from "../support/arbitrary.ts";
import { readConfig, readWords, type Section } from "../support/haproxy.ts";
import { HARMLESS, hostileSpec } from "../support/hostile.ts";
import { spec } from "../support/specs.ts";

t.test("a hostile string is refused, or changes nothing but the word that it is", async (t) => {
  const harmless = configOf(HARMLESS);
  const taken = new Set<string>();
  let refused = 0;
  fc.assert(
    fc.property(hostileSpec, ({ path, text, document }) => {
      const parsed = parsedOrNull(document);
      if (parsed === null) {
        refused++;
        return true;
      }
      taken.add(path);
      const config = configOf(parsed);
      return (
        shapeOf(config) === shapeOf(harmless) && differences(harmless, config).every((word) => word.includes(text))
      );
    }),
    { numRuns: 10_000 },
  );
  t.ok(refused > 1000, "many were refused");
  t.ok(taken.has("pools.0.health_monitor.url_path"), "some were taken");
});

t.test("a check's path reaches HAProxy as it was typed", async () => {
  fc.assert(
    fc.property(arbitrarySpec, (one) => {
      const typed = one.pools.flatMap(({ health_monitor }) =>
        health_monitor === null ? [] : [health_monitor.url_path],
      );
      const sent = configOf(one)
        .flatMap(({ lines }) => lines)
        .filter(([keyword]) => keyword === "http-check")
        .flatMap((words) => (words[4] === "uri" ? [words[5] ?? ""] : []));
      return sent.every((path) => typed.includes(path));
    }),
  );
});

t.test("whatever the spec, there are its listeners' and pools' sections and no others", async () => {
  const fixed = configOf(spec({ listeners: [] }));
  fc.assert(
    fc.property(arbitrarySpec, (one) => {
      const [head, rest] = [configOf(one).slice(0, fixed.length), configOf(one).slice(fixed.length)];
      const listeners = one.listeners.filter(({ admin_state_up }) => one.admin_state_up && admin_state_up);
      const used = new Set(
        listeners.flatMap((each) => {
          const pool = one.pools.find(({ id, admin_state_up }) => id === each.default_pool_id && admin_state_up);
          return pool === undefined ? [] : backendName(pool, each);
        }),
      );
      const wanted = [...listeners.map(({ id }) => `frontend ${id}`), ...[...used].map((name) => `backend ${name}`)];
      const servers = rest.flatMap(({ lines }) => lines.filter(([keyword]) => keyword === "server"));
      const members = one.pools.reduce(
        (sum, pool) => sum + pool.members.length * [...used].filter((name) => name.startsWith(pool.id)).length,
        0,
      );
      return (
        JSON.stringify(head) === JSON.stringify(fixed) &&
        JSON.stringify(rest.map(({ kind, name }) => `${kind} ${name}`)) === JSON.stringify(wanted) &&
        servers.length === members
      );
    }),
  );
});

t.test("the reader of these tests reads as HAProxy does", async (t) => {
  t.strictSame(readWords("    server a 10.0.0.1:80 # comment"), ["server", "a", "10.0.0.1:80"]);
  t.strictSame(readWords(`uri '/it'\\''s' "a b" c\\ d x#y`), ["uri", "/it's", "a b", "c d", "x"]);
  t.strictSame(readWords("'' \"\""), ["", ""]);
  for (const line of ["'a", '"a', '"$HOME"', "a\\n", "a\rb"]) t.throws(() => readWords(line), line);
  t.throws(() => readConfig("server a 10.0.0.1:80\nbackend x\n"), "a line outside any section");
});

function configOf(one: AmphoraSpec): Section[] {
  return readConfig(render(one).get(HAPROXY_CFG)?.content ?? "");
}

function parsedOrNull(document: unknown): AmphoraSpec | null {
  try {
    return parseSpec(document);
  } catch (error) {
    if (error instanceof SpecError) return null;
    throw error;
  }
}

/** Everything but the words themselves: how many lines in which sections, and how many words in each. */
function shapeOf(config: readonly Section[]): string {
  return JSON.stringify(config.map(({ kind, lines }) => [kind, lines.map((words) => [words[0], words.length])]));
}

/** The words that stand in the second where others stand in the first. */
function differences(first: readonly Section[], second: readonly Section[]): string[] {
  const words = (config: readonly Section[]) => config.flatMap(({ name, lines }) => [name, ...lines.flat()]);
  const before = words(first);
  return words(second).filter((word, i) => word !== before[i]);
}
