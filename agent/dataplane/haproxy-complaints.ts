/** Where in a spec the fault lies that HAProxy complains of. */
import type { AmphoraSpec, SpecProblem } from "../../templates/spec.ts";

/** Where in its own file HAProxy has found something. */
const PLACE = /^config : (parsing \[[^\]]*\] : )?/;
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;

/**
 * One problem for each part of the spec that a complaint names, by a file of its own or by the line it became.
 * @param complaints HAProxy's own words, such as `config : parsing […/haproxy.cfg:12] : error detected while …`
 * @param config the haproxy.cfg that they speak of
 */
export function problemsOf(complaints: readonly string[], config: string, spec: AmphoraSpec): SpecProblem[] {
  const lines = config.split("\n");
  const places = placesOf(spec);
  const problems = new Map<string, SpecProblem>();
  for (const each of complaints) {
    const numbers = [...each.matchAll(/haproxy\.cfg:(\d+)/g)].map((match) => Number(match[1]));
    const texts = [each, ...numbers.flatMap((number) => [lines[number - 1] ?? "", sectionOf(lines, number)])];
    const ids = texts.flatMap((text) => text.match(UUID) ?? []);
    const path = ids.map((id) => places.get(id)).find((found) => found !== undefined) ?? "";
    // what comes after the first complaint about a part follows from it
    if (!problems.has(path)) problems.set(path, { path, message: each.replace(PLACE, "") });
  }
  // what names no part of the spec says nothing beside what does
  if (problems.size > 1) problems.delete("");
  return [...problems.values()];
}

/** The line that begins the section of that line, counted from 1. */
function sectionOf(lines: readonly string[], number: number): string {
  return lines.slice(0, number).findLast((line) => /^(frontend|backend) /.test(line)) ?? "";
}

/** The path of everything that has an id. */
function placesOf(spec: AmphoraSpec): Map<string, string> {
  const places = new Map<string, string>();
  spec.certificates.forEach(({ id }, i) => {
    places.set(id, `certificates[${i}]`);
  });
  spec.listeners.forEach((listener, i) => {
    places.set(listener.id, `listeners[${i}]`);
    listener.l7policies.forEach((policy, j) => {
      places.set(policy.id, `listeners[${i}].l7policies[${j}]`);
      policy.rules.forEach(({ id }, k) => {
        places.set(id, `listeners[${i}].l7policies[${j}].rules[${k}].value`);
      });
    });
  });
  spec.pools.forEach((pool, i) => {
    places.set(pool.id, `pools[${i}]`);
    pool.members.forEach(({ id }, j) => {
      places.set(id, `pools[${i}].members[${j}]`);
    });
  });
  return places;
}
