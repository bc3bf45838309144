/** Objects that a body may hold within another one, and the order in which they are made. */
import type { Resource } from "../model/resource.ts";
import { valuesForCreate } from "./body.ts";
import { ApiError, invalidField, placed, shortened } from "./errors.ts";
import { healthMonitorRules } from "./rules/health-monitor.ts";
import { l7policyRules } from "./rules/l7policy.ts";
import { l7ruleRules } from "./rules/l7rule.ts";
import { listenerRules } from "./rules/listener.ts";
import { memberRules } from "./rules/member.ts";
import { poolRules } from "./rules/pool.ts";
import type { Given, PartRules } from "./rules/rules.ts";

/** Any part's rules: which part's they are is known only when the program runs. */
export type AnyRules = PartRules<Resource>;

export interface Nested {
  readonly rules: AnyRules;
  readonly many: boolean;
  /** the column of the inner object that names the outer one */
  readonly parent?: string;
  /** or the attribute of the outer object that names the inner one, a pool */
  readonly sets?: string;
  /** the attribute in whose order they are made; absent: as they stand */
  readonly inOrderOf?: string;
}

/** Outer resource -> key in its body -> what stands there. */
const NESTED: Readonly<Record<string, Readonly<Record<string, Nested>>>> = {
  loadbalancer: {
    pools: { rules: poolRules, many: true, parent: "loadbalancer_id" },
    listeners: { rules: listenerRules, many: true, parent: "loadbalancer_id" },
  },
  listener: {
    default_pool: { rules: poolRules, many: false, sets: "default_pool_id" },
    l7policies: { rules: l7policyRules, many: true, parent: "listener_id", inOrderOf: "position" },
  },
  pool: {
    // first: members that are checked begin OFFLINE, others NO_MONITOR
    healthmonitor: { rules: healthMonitorRules, many: false, parent: "pool_id" },
    members: { rules: memberRules, many: true, parent: "pool_id" },
  },
  l7policy: {
    redirect_pool: { rules: poolRules, many: false, sets: "redirect_pool_id" },
    rules: { rules: l7ruleRules, many: true, parent: "l7policy_id" },
  },
};

/** The keys of a body under which whole objects may stand. */
export function nestedIn(resource: Resource): [key: string, nested: Nested][] {
  return Object.entries(NESTED[resource.name] ?? {});
}

/** Whether a body may hold whole objects under that key. */
export function isNested(resource: Resource, key: string): boolean {
  return Object.hasOwn(NESTED[resource.name] ?? {}, key);
}

/** An object to be made, checked by itself, with those within it. */
export interface Node {
  readonly given: Given<Resource>;
  readonly children: readonly Child[];
  /** where in the body it stands; empty: it is all of it */
  readonly place: string;
}

export interface Child extends Node {
  readonly rules: AnyRules;
  readonly parent: string | null;
  readonly sets: string | null;
  /** instead of a pool's description, the name of one that is described elsewhere in the body */
  readonly reference: string | null;
}

/**
 * What a body asks to be made.
 * @param place where in the body it stands
 * @param fixed attributes that are known from that
 * @throws {ApiError} 400 naming the attribute, and where in the body it stands
 */
export function parseNode(
  resource: Resource,
  root: Readonly<Record<string, unknown>>,
  place = "",
  fixed: readonly string[] = [],
): Node {
  try {
    const nested = nestedIn(resource);
    const own = Object.fromEntries(Object.entries(root).filter(([key]) => !isNested(resource, key)));
    const given = valuesForCreate(resource, own, fixed);
    for (const [key, { sets }] of nested) {
      if (sets === undefined || !root[key] || !root[sets]) continue;
      throw invalidField(sets, root[sets], `It can't be given together with ${key}.`);
    }
    return { given, place, children: nested.flatMap(([key, kind]) => parseChildren(key, kind, root[key], place)) };
  } catch (error) {
    throw placed(error, place);
  }
}

function parseChildren(key: string, kind: Nested, value: unknown, within: string): Child[] {
  if (value === undefined || value === null) return [];
  if (kind.many && !Array.isArray(value)) throw invalidField(key, value, "It must be a list of objects.");
  const objects: readonly unknown[] = kind.many && Array.isArray(value) ? value : [value];
  const path = within === "" ? key : `${within}.${key}`;
  const children = objects.map((object, i) => parseChild(key, kind, object, kind.many ? `${path}[${i}]` : path));
  const { inOrderOf } = kind;
  if (inOrderOf === undefined) return children;
  const order = ({ given }: Child) => Number((given as Readonly<Record<string, unknown>>)[inOrderOf]);
  return children.toSorted((a, b) => order(a) - order(b));
}

function parseChild(key: string, kind: Nested, object: unknown, place: string): Child {
  if (typeof object !== "object" || object === null || Array.isArray(object)) {
    throw placed(invalidField(key, object, "It must be an object."), place);
  }
  const { rules, parent = null, sets = null } = kind;
  const values: Record<string, unknown> = { ...object };
  const isReference = sets !== null && Object.keys(values).join() === "name" && typeof values.name === "string";
  const reference = isReference ? String(values.name) : null;
  if (reference !== null) return { rules, parent, sets, reference, place, given: {}, children: [] };
  // a pool always belongs to the load balancer that it is made for
  const fixed = [parent ?? "loadbalancer_id"];
  return { rules, parent, sets, reference, ...parseNode(rules.resource, values, place, fixed) };
}

/** Every pool that is described within a node, wherever it stands. */
export function poolsWithin({ children }: Node): Child[] {
  return children.flatMap((child) => {
    const isPool = child.rules.resource === poolRules.resource && child.reference === null;
    return [...(isPool ? [child] : []), ...poolsWithin(child)];
  });
}

/** Every object within a node. */
export function everythingWithin({ children }: Node): Child[] {
  return children.flatMap((child) => [child, ...everythingWithin(child)]);
}

/** @throws {ApiError} 400 when no pool of the body has the name, or several have */
export function poolNamed<T extends Child>(name: string, pools: readonly T[]): T {
  const found = pools.filter(({ given }) => "name" in given && given.name === name);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const short = shortened(name);
  if (found.length > 1)
    throw new ApiError(400, `Validation failure: Pool names must be unique: there are ${found.length} '${short}'.`);
  throw new ApiError(400, `Validation failure: Pool '${short}' was referenced but no full definition was found.`);
}
