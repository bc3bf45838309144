/** Specs in which one string, at any place where a spec holds one, was typed by somebody who means harm. */
import fc from "fast-check";
import { parseSpec } from "../../templates/spec.ts";
import { idOf, listener, member, monitor, pool, specInput } from "./specs.ts";

/** What means something to HAProxy, a shell, a template, a terminal or a parser. */
const HARMFUL = [
  "\n",
  "\r\n",
  "\n    server evil 192.0.2.66:80\n",
  "\nbackend evil\n",
  "'",
  '"',
  "'\\''",
  "\\",
  "\\n",
  "\\x0a",
  "#",
  "%[src]",
  "%{+Q}o",
  "%n",
  "$HOME",
  "$" + "{HOME}",
  "$(id)",
  "`id`",
  " ",
  "\t",
  ";",
  "{{name}}",
  "{{{name}}}",
  "]",
  ":1",
  "\u0000",
  "\u007f",
  "\u0085",
  "\u2028",
  "\uFF07",
  "é",
  "💣",
  "\ud800",
  "__proto__",
];

/** Holds every string field that there is; all hostile specs are made from it. */
export const HARMLESS = parseSpec(
  specInput({
    interfaces: [
      {
        name: "eth1",
        mac: "fa:16:3e:00:00:01",
        addresses: ["10.77.0.10/24"],
        routes: [{ destination: "0.0.0.0/0", via: "10.77.0.1" }],
      },
    ],
    listeners: [listener(1), listener(2, { default_pool_id: idOf("pool", 2) })],
    pools: [
      pool(1, [member(1, { monitor_address: "10.77.0.99" }), member(2, { address: "fd77::22" })], {
        health_monitor: monitor({ domain_name: "www.example.com", expected_codes: "200-204" }),
      }),
      pool(2, [member(3, { monitor_address: "fd77::99" })], {
        health_monitor: monitor({ id: idOf("monitor", 2), http_version: 1.1 }),
      }),
    ],
  }),
);

export interface HostileSpec {
  /** where the string stands, such as pools.0.health_monitor.url_path */
  readonly path: string;
  readonly text: string;
  /** the document with the string in it: a valid spec or not */
  readonly document: unknown;
}

/** Each string field, and all kinds of strings in it. */
export const hostileSpec: fc.Arbitrary<HostileSpec> = fc
  .tuple(
    fc.constantFrom(...stringsIn(HARMLESS)),
    fc.oneof(
      fc.constantFrom(...HARMFUL),
      fc
        .array(fc.oneof(fc.constantFrom(...HARMFUL), fc.string({ minLength: 1, maxLength: 3 })), {
          minLength: 1,
          maxLength: 8,
        })
        .map((all) => all.join("")),
      fc.string({ unit: "binary", minLength: 1, maxLength: 50 }),
      fc.constant("a".repeat(65_536)),
    ),
    fc.constantFrom("instead", "before", "after", "within"),
  )
  .map(([[path, original], harm, place]) => {
    const half = Math.ceil(original.length / 2);
    const text = {
      instead: harm,
      before: harm + original,
      after: original + harm,
      within: original.slice(0, half) + harm + original.slice(half),
    }[place];
    return { path, text, document: withString(HARMLESS, path.split("."), text) };
  });

function stringsIn(value: unknown, path: readonly string[] = []): [path: string, text: string][] {
  if (typeof value === "string") return [[path.join("."), value]];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => stringsIn(each, [...path, key]));
}

function withString(value: unknown, [key, ...rest]: readonly string[], text: string): unknown {
  if (key === undefined) return text;
  const changed = (each: unknown, name: string) => (name === key ? withString(each, rest, text) : each);
  if (Array.isArray(value)) return value.map((each, i) => changed(each, String(i)));
  return Object.fromEntries(Object.entries(Object(value)).map(([name, each]) => [name, changed(each, name)]));
}
