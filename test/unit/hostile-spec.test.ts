/** Nothing that a tenant types becomes a directive: a string is refused, or it is one word where one word stood. */
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import t from "tap";
import { backendName } from "../../templates/haproxy/names.ts";
import { HAPROXY_CFG, render } from "../../templates/render.ts";
import { type AmphoraSpec, type L7PolicySpec, type ListenerSpec, parseSpec, SpecError } from "../../templates/spec.ts";
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
      return shapeOf(config) === shapeOf(harmless) && differences(harmless, config).every((word) => holds(word, text));
    }),
    { numRuns: 10_000 },
  );
  t.ok(refused > 1000, "many were refused");
  for (const path of ["pools.0.health_monitor.url_path", "listeners.0.l7policies.0.rules.3.value"]) {
    t.ok(taken.has(path), `some were taken at ${path}`);
  }
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
      const backends = new Set(
        listenersOf(one).flatMap((each) => {
          const ids = [...policiesOf(each).map(({ redirect_pool_id }) => redirect_pool_id), each.default_pool_id];
          const pools = ids.map((id) => one.pools.find((pool) => pool.id === id && pool.admin_state_up));
          return pools.flatMap((pool) => (pool === undefined ? [] : backendName(pool, each)));
        }),
      );
      const wanted = [
        ...listenersOf(one).map(({ id }) => `frontend ${id}`),
        ...[...backends].map((name) => `backend ${name}`),
      ];
      const servers = rest.flatMap(({ lines }) => lines.filter(([keyword]) => keyword === "server"));
      const members = one.pools.reduce(
        (sum, pool) => sum + pool.members.length * [...backends].filter((name) => name.startsWith(pool.id)).length,
        0,
      );
      return (
        isDeepStrictEqual(head, fixed) &&
        isDeepStrictEqual(rest.map(({ kind, name }) => `${kind} ${name}`).sort(), wanted.sort()) &&
        servers.length === members
      );
    }),
  );
});

t.test("whatever the spec, a section holds the directives that its part asks for and no others", async () => {
  fc.assert(
    fc.property(arbitrarySpec, (one) => {
      for (const { kind, name, lines } of configOf(one).slice(FIXED_SECTIONS)) {
        const unknown = lines.filter(([keyword = ""]) => !DIRECTIVES[kind]?.includes(keyword));
        if (unknown.length > 0) throw new Error(`${kind} ${name}: ${unknown.join("; ")}`);
      }
      return listenersOf(one).every((listener) => {
        const lines = configOf(one).find(({ name }) => name === listener.id)?.lines ?? [];
        const rules = policiesOf(listener).flatMap((policy) => policy.rules.filter((rule) => rule.admin_state_up));
        const isRule = (word: string) => /^!?9{8}-/.test(word);
        const tests = new Set(lines.flatMap(([keyword, id = ""]) => (keyword === "acl" && isRule(id) ? [id] : [])));
        const decisions = lines.filter((words) => words[0] === "http-request" && words.some(isRule));
        const counts = {
          bind: one.vips.length,
          "http-after-response": listener.tls !== null && listener.tls.hsts_max_age !== null ? 1 : 0,
          maxconn: listener.connection_limit > 0 ? 1 : 0,
          use_backend: decisions.some((words) => words[1] === "set-var(txn.backend)") ? 1 : 0,
        };
        return (
          isDeepStrictEqual([...tests].sort(), rules.map(({ id }) => id).sort()) &&
          isDeepStrictEqual(
            decisions.map((words) => words.filter(isRule).map((word) => word.replace("!", ""))),
            policiesOf(listener).map((policy) =>
              policy.rules.filter((rule) => rule.admin_state_up).map(({ id }) => id),
            ),
          ) &&
          Object.entries(counts).every(
            ([keyword, count]) => lines.filter((words) => words[0] === keyword).length === count,
          )
        );
      });
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

/** global, defaults, the agent's own frontend, peers */
const FIXED_SECTIONS = 4;
const DIRECTIVES: Readonly<Record<string, readonly string[]>> = {
  frontend: [
    ...["mode", "bind", "maxconn", "timeout", "option", "acl", "tcp-request", "http-request", "http-after-response"],
    ...["use_backend", "default_backend"],
  ],
  backend: [
    ...["mode", "balance", "hash-type", "cookie", "dynamic-cookie-key", "stick-table", "stick", "timeout", "option"],
    ...["http-request", "retry-on", "http-check", "tcp-check", "default-server", "server"],
  ],
};

/** What is in force, without the help of what is tested here. */
function listenersOf(one: AmphoraSpec): ListenerSpec[] {
  return one.listeners.filter(({ admin_state_up }) => one.admin_state_up && admin_state_up);
}

function policiesOf(listener: ListenerSpec): L7PolicySpec[] {
  return listener.l7policies.filter(
    ({ admin_state_up, rules }) => admin_state_up && rules.some((rule) => rule.admin_state_up),
  );
}

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

/** Whether a text stands in a word as it is, or as HAProxy's log format has it, where a percent sign is written twice. */
function holds(word: string, text: string): boolean {
  return word.includes(text) || word.includes(text.replaceAll("%", "%%"));
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
