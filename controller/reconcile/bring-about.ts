/** From what is wanted of a load balancer to amphorae that serve it: new ones first, then the switch, then old ones go. */
import { RefusedError } from "../amphorae/client.ts";
import type { Amphora } from "../model/amphora.ts";
import type { Blueprint } from "../store/blueprint.ts";
import type { Tree } from "../store/tree.ts";
import { AheadError, type Amphorae } from "./amphorae.ts";
import { planAmphorae } from "./plan.ts";

export interface Present {
  readonly tree: Tree;
  readonly blueprint: Blueprint;
  readonly amphorae: readonly Amphora[];
}

/** Some amphorae serve what is wanted, others do not (yet). */
export interface Lag {
  readonly reason: string;
}

/**
 * @returns null when every amphora serves what is wanted
 * @throws {RefusedError} when an amphora refuses the spec @throws {AheadError} @throws whatever keeps all of them from it
 */
export async function bringAbout(amphorae: Amphorae, present: Present, signal: AbortSignal): Promise<Lag | null> {
  const { tree, blueprint, amphorae: rows } = present;
  const { loadBalancer } = tree;
  const plan = planAmphorae(blueprint, rows, loadBalancer.failover);
  const wanted = await amphorae.record(loadBalancer, plan);
  const booted = await all(
    wanted,
    (row) => row,
    (row) => amphorae.boot(tree, blueprint, row, wanted, signal),
  );
  signal.throwIfAborted();
  const served = await all(
    booted.done,
    ({ row }) => row,
    (ready) => amphorae.serve(tree, blueprint, ready, booted.done),
  );
  const failures = [...booted.failures, ...served.failures];
  const decisive = failures.find(({ error }) => error instanceof RefusedError || error instanceof AheadError);
  if (decisive !== undefined) throw decisive.error;
  if (served.done.length === 0) throw failures[0]?.error;
  if (failures.length > 0) {
    await amphorae.giveUp(booted.failures.map(({ row }) => row));
    return { reason: failures.map(({ row, error }) => `amphora ${row.id}: ${message(error)}`).join("; ") };
  }
  for (const row of plan.retire) {
    signal.throwIfAborted();
    await amphorae.remove(row);
  }
  return null;
}

interface Outcome<R> {
  readonly done: readonly R[];
  readonly failures: readonly { readonly row: Amphora; readonly error: unknown }[];
}

/** Does it for all at once, and waits for each of them. */
async function all<T, R>(
  items: readonly T[],
  rowOf: (item: T) => Amphora,
  work: (item: T) => Promise<R>,
): Promise<Outcome<R>> {
  const results = await Promise.allSettled(items.map(work));
  const done: R[] = [];
  const failures: { row: Amphora; error: unknown }[] = [];
  results.forEach((result, i) => {
    const item = items[i];
    if (result.status === "fulfilled") done.push(result.value);
    else if (item !== undefined) failures.push({ row: rowOf(item), error: result.reason });
  });
  return { done, failures };
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
