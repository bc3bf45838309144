/** The request examples of the API's reference, as it prints them, and how to try them on other objects than its own. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { isObject, type Json } from "./api.ts";

interface Printed {
  readonly operation: string;
  readonly call: string;
  readonly body?: Json;
  readonly code: number;
  readonly answer?: Json;
}

export interface Example {
  /** such as `PUT /v2.0/lbaas/flavors/{flavor_id}` */
  readonly operation: string;
  readonly method: string;
  /** from the call: what follows the host */
  readonly path: string;
  /** what the call sends, and the other form of it that is printed beside; empty: no body */
  readonly bodies: readonly Json[];
  readonly code: number;
  /** null: no body */
  readonly answer: Json | null;
}

/** Ids that stand for those in the examples: by parameter of the path, and by attribute of a body. */
export type Ids = Readonly<Record<string, string | null>>;

const printed: readonly Printed[] = parse(readFileSync(join(import.meta.dirname, "reference-examples.yaml"), "utf8"));

export const EXAMPLES: readonly Example[] = printed.map(({ operation, call, body, code, answer }) => {
  const [method = ""] = operation.split(" ");
  const [given = "", sent] = /-d\s+'(.*)'/.exec(call) ?? [];
  const url = /http:\/\/[^/]+(\/[^\s"]+)/.exec(call.replace(given, ""))?.[1];
  if (url === undefined) throw new Error(`${operation}: the call has no URL`);
  const bodies: Json[] = sent === undefined ? [] : [JSON.parse(sent)];
  if (body !== undefined) bodies.push(body);
  return { operation, method, path: url, bodies, code, answer: answer ?? null };
});

export function example(operation: string): Example {
  const found = EXAMPLES.find((each) => each.operation === operation);
  if (found === undefined) throw new Error(`the reference has no example of ${operation}`);
  return found;
}

/** What stands in a path for something that there is: a UUID, or a zone's name. */
const NAMED = /\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|test_az)(?=\/|\?|$)/g;

/** The example's path with ids in the places of its own. @throws when it has more of them than ids are known */
export function pathWith({ operation, path }: Example, ids: Ids): string {
  const names = [...operation.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
  const replaced = path.replace(NAMED, () => `/${ids[names.shift() ?? ""] ?? fail(operation)}`);
  return replaced.replace(/(?<=[?&](\w+_id)=)[^&]+/, (value, name) => ids[name] ?? value);
}

function fail(operation: string): never {
  throw new Error(`${operation}: there is no id for its path`);
}

/** The body with ids in the places of its own. */
export function bodyWith(body: Json, ids: Ids): Json {
  return Object.fromEntries(
    Object.entries(body).map(([key, value]) => [
      key,
      isObject(value) ? bodyWith(value, ids) : (ids[key] ?? (key in ids ? null : value)),
    ]),
  );
}

/** What an answer lacks of what the reference shows, or has of another kind. Null goes for any kind. */
export function answerProblems(found: Json, shown: Json): string[] {
  return Object.entries(shown).flatMap(([root, value]) => {
    const there = found[root];
    if (isObject(value)) return isObject(there) ? differences(there, value) : [`there is no object ${root}`];
    if (!Array.isArray(there)) return [`there is no list ${root}`];
    const [first] = Array.isArray(value) ? value : [];
    if (!isObject(first)) return [];
    if (there.length === 0) return [`the list ${root} is empty`];
    return there.flatMap((each) => (isObject(each) ? differences(each, first) : [`${root} holds no objects`]));
  });
}

/** The same for one object. */
export function differences(found: Json, shown: Json): string[] {
  return Object.entries(shown).flatMap(([key, example]) => {
    if (!Object.hasOwn(found, key)) return [`${key} is missing`];
    const value = found[key];
    if (value === null || example === null || kind(value) === kind(example)) return [];
    return [`${key} is ${kind(value)}, not ${kind(example)}`];
  });
}

/** Values that the reference's answer repeats from its request, and this one does not; or gives otherwise than the reference. */
export function unlikeSent(answer: Json, sent: Json, { answer: shown, bodies }: Example): string[] {
  return Object.entries(sent).flatMap(([root, values]) => {
    const { [root]: alone, [`${root}s`]: list } = shown ?? {};
    const [there, example] = [answer[root], alone ?? (Array.isArray(list) ? list[0] : undefined)];
    if (!isObject(values) || !isObject(there) || !isObject(example)) return [`there is no object ${root}`];
    return Object.entries(values).flatMap(([key, value]) => {
      // an empty text is where the reference shows none
      if (!Object.hasOwn(example, key) || example[key] === "") return [];
      const repeats = bodies.some(({ [root]: body }) => isObject(body) && same(example[key], body[key]));
      const wanted = repeats ? value : example[key];
      return same(there[key], wanted) ? [] : [`${key} is ${JSON.stringify(there[key])}, not ${JSON.stringify(wanted)}`];
    });
  });
}

/** An object, and JSON text of it, are the same. */
function same(one: unknown, other: unknown): boolean {
  return canonical(one) === canonical(other);
}

function canonical(value: unknown): string {
  if (typeof value !== "string" || !value.startsWith("{")) return JSON.stringify(value) ?? "";
  return JSON.stringify(JSON.parse(value));
}

function kind(value: unknown): string {
  return Array.isArray(value) ? "list" : typeof value;
}
