/** Parts of load balancers: made, alone or with others within them, changed and removed. */
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { loadBalancer } from "../model/load-balancer.ts";
import type { Resource, Row } from "../model/resource.ts";
import { newRow, timestamp, updateRow } from "../store/rows.ts";
import { viewsOf } from "./answers.ts";
import { valuesForUpdate } from "./body.ts";
import type { Change } from "./change.ts";
import type { Engine } from "./engine.ts";
import { ApiError, invalidField, placed } from "./errors.ts";
import type { Caller } from "./identity.ts";
import { type Child, everythingWithin, type Node, parseNode, poolNamed, poolsWithin } from "./nesting.ts";
import type { Given, PartRules, PathParameters } from "./rules/rules.ts";
import { requireStaying } from "./rules/shared.ts";
import type { Precheck } from "./services.ts";

export class Parts {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async create<R extends Resource>(
    rules: PartRules<R>,
    caller: Caller,
    root: Record<string, unknown>,
    parameters: PathParameters,
  ): Promise<Record<string, unknown>> {
    const node = parseNode(rules.resource, root);
    const home = await rules.home(this.#engine.options.store.db, node.given as Given<R>, parameters);
    const projectId = async () => (await this.#engine.requireRow(loadBalancer, caller, home, {}, "write")).project_id;
    await precheck(rules, node, { services: this.#engine.options.services, caller, projectId });
    const row = await this.#engine.change(caller, home, async (change) => {
      const row = await addNode(change, rules, node, parameters);
      change.later(async () => change.concern(await rules.concerned(change, row)));
      return row;
    });
    return this.#engine.present(rules.resource, row, viewsOf(rules));
  }

  async update<R extends Resource>(
    rules: PartRules<R>,
    caller: Caller,
    id: string,
    root: Record<string, unknown>,
    within: Readonly<Record<string, unknown>>,
  ): Promise<Record<string, unknown>> {
    const { resource } = rules;
    const patch = valuesForUpdate(resource, root);
    const before = await this.#engine.requireRow(resource, caller, id, within, "write");
    await rules.precheck?.({ ...before, ...patch } as Given<R>, {
      services: this.#engine.options.services,
      caller,
      projectId: async () => projectOf(before),
      isGiven: (attribute) => Object.hasOwn(patch, attribute),
    });
    const row = await this.#engine.change(caller, homeOf(before), async (change) => {
      const row = await requireStaying(change, resource, id);
      const changed = differences(row, await rules.update(change, row, patch));
      const written: Partial<Row<R>> = { ...changed, provisioning_status: "PENDING_UPDATE", updated_at: timestamp() };
      await updateRow(change.trx, resource, id, written);
      const after = { ...row, ...written };
      change.concern(await rules.concerned(change, after));
      return after;
    });
    return this.#engine.present(resource, row, viewsOf(rules));
  }

  async remove<R extends Resource>(
    rules: PartRules<R>,
    caller: Caller,
    id: string,
    within: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const before = await this.#engine.requireRow(rules.resource, caller, id, within, "write");
    await this.#engine.change(caller, homeOf(before), async (change) => {
      await removePart(change, rules, await requireStaying(change, rules.resource, id));
    });
  }
}

/** Marks a part, and what depends on it, as to be removed. @throws what its rules throw */
export async function removePart<R extends Resource>(change: Change, rules: PartRules<R>, row: Row<R>): Promise<void> {
  const { id }: Readonly<Record<string, unknown>> = row;
  change.concern(await rules.concerned(change, row));
  await rules.remove(change, row);
  const doomed = { doomed: true, provisioning_status: "PENDING_DELETE" };
  await updateRow(change.trx, rules.resource, String(id), doomed as Partial<Row<Resource>>);
}

/** HAProxy tries some 50 in a second. */
const MOST_EXPRESSIONS = 500;

/** Checks that take their time, of an object and of everything within it. */
export async function precheck<R extends Resource>(
  rules: PartRules<R> | null,
  node: Node,
  known: Omit<Precheck, "isGiven">,
): Promise<void> {
  const circumstances = { ...known, isGiven: () => true };
  await rules?.precheck?.(node.given as Given<R>, circumstances);
  const all = everythingWithin(node);
  const expressions = all.filter(({ given }) => "compare_type" in given && given.compare_type === "REGEX").length;
  if (expressions > MOST_EXPRESSIONS) {
    throw new ApiError(
      400,
      `The body holds ${expressions} regular expressions: ${MOST_EXPRESSIONS} are the most at a time.`,
    );
  }
  for (const child of all) {
    await child.rules.precheck?.(child.given, circumstances).catch((error: unknown) => {
      throw placed(error, child.place);
    });
  }
}

/**
 * Adds an object and everything within it to a change: pools first, since any listener or policy may name them.
 * @param known columns that its place decides
 */
export async function addNode<R extends Resource>(
  change: Change,
  rules: PartRules<R>,
  node: Node,
  known: Readonly<Record<string, string>>,
): Promise<Row<R>> {
  const pools = await addPools(change, node);
  return addOne(change, rules, node, known, pools);
}

/** The same for what stands within a load balancer. */
export async function addWithin(change: Change, node: Node): Promise<void> {
  const pools = await addPools(change, node);
  for (const child of node.children) {
    if (!pools.has(child)) await addOne(change, child.rules, child, {}, pools);
  }
}

/** Pools that have been added -> their ids. */
type Pools = ReadonlyMap<Child, string>;

async function addPools(change: Change, node: Node): Promise<Pools> {
  const added = new Map<Child, string>();
  for (const child of poolsWithin(node)) {
    const { id }: Readonly<Record<string, unknown>> = await addOne(change, child.rules, child, {}, added);
    added.set(child, String(id));
  }
  return added;
}

/** @throws what the rules throw, with the place in the body */
async function addOne<R extends Resource>(
  change: Change,
  rules: PartRules<R>,
  node: Node,
  known: Readonly<Record<string, string>>,
  pools: Pools,
): Promise<Row<R>> {
  const row = await makeRow(change, rules, node, known, pools).catch((error: unknown) => {
    throw placed(error, node.place);
  });
  const { id }: Readonly<Record<string, unknown>> = row;
  for (const child of node.children) {
    if (child.parent !== null)
      await addOne<Resource>(change, child.rules, child, { [child.parent]: String(id) }, pools);
  }
  return row;
}

async function makeRow<R extends Resource>(
  change: Change,
  rules: PartRules<R>,
  node: Node,
  known: Readonly<Record<string, string>>,
  pools: Pools,
): Promise<Row<R>> {
  const { loadBalancer } = change;
  const targets = node.children.filter((child) => child.sets !== null).map((child) => [child.sets, idOf(child, pools)]);
  const given = { ...node.given, ...Object.fromEntries(targets) } as Given<R>;
  checkProject(node.given, loadBalancer.project_id);
  const draft = newRow(rules.resource, {
    ...given,
    ...known,
    id: randomUUID(),
    project_id: loadBalancer.project_id,
    provisioning_status: "PENDING_CREATE",
    operating_status: "OFFLINE",
    created_at: timestamp(),
    loadbalancer_id: loadBalancer.id,
  });
  const row = { ...draft, ...(await rules.create(change, draft, given)) };
  change.add(rules.resource, row);
  await rules.created?.(change, row, given);
  return row;
}

function idOf(child: Child, pools: Pools): string {
  const target = child.reference === null ? child : poolNamed(child.reference, [...pools.keys()]);
  return pools.get(target) ?? "";
}

function homeOf(row: Readonly<Record<string, unknown>>): string {
  return String(row.loadbalancer_id);
}

function projectOf(row: Readonly<Record<string, unknown>>): string {
  return String(row.project_id);
}

function differences<T extends object>(before: T, after: Partial<T>): Partial<T> {
  const old = new Map(Object.entries(before));
  const changed = Object.entries(after).filter(([key, value]) => !isDeepStrictEqual(old.get(key), value));
  return Object.fromEntries(changed) as Partial<T>;
}

/**
 * Parts belong to the project of their load balancer; saying so is allowed.
 * @throws {ApiError} 400
 */
export function checkProject(given: Readonly<Record<string, unknown>>, projectId: string): void {
  const named = given.project_id;
  if (named === undefined || named === "" || named === projectId) return;
  throw invalidField("project_id", named, "It must be the load balancer's project.");
}
