/** From what is wanted of a load balancer to amphorae that serve it: new ones first, then the switch, then old ones go. */

import { messageOf } from "../../agent/faults.ts";
import { RefusedError, UnreachableError } from "../amphorae/client.ts";
import type { TlsMaterial } from "../certificates/tls.ts";
import { ComputeRefusedError } from "../drivers/compute.ts";
import { type Amphora, NEVER_SERVED } from "../model/amphora.ts";
import type { LoadBalancer } from "../model/load-balancer.ts";
import type { Blueprint } from "../store/blueprint.ts";
import type { Tree } from "../store/tree.ts";
import type { Amphorae } from "./amphorae.ts";
import type { Lease } from "./lease.ts";
import { planAmphorae } from "./plan.ts";
import { AheadError, type Placed, type Serving, type Situation } from "./serving.ts";

export interface Present {
  readonly tree: Tree;
  readonly blueprint: Blueprint;
  readonly amphorae: readonly Amphora[];
}

/** With everything that it takes to bring it about. */
export interface Wanted extends Present {
  readonly tls: TlsMaterial;
}

export interface Steps {
  readonly amphorae: Amphorae;
  readonly serving: Serving;
}

/** The work as it is known outside. */
export interface Progress {
  readonly lease: Lease;
  /** kept up to date: with the revision that is being carried out */
  row: LoadBalancer;
}

/** What has come of it. */
export interface Reached {
  /** with the revision that is in force */
  readonly loadBalancer: LoadBalancer;
  /** why some amphorae do not serve it (yet), while others do; null: all do */
  readonly lag: string | null;
}

/** What would be the same on every other amphora, or with every other try. */
const DECISIVE = [RefusedError, AheadError, ComputeRefusedError];

/**
 * @throws {OutdatedError} the load balancer has changed meanwhile
 * @throws {RefusedError} when an amphora refuses the spec @throws {ComputeRefusedError}
 * @throws {AheadError} @throws whatever keeps all of them from it
 */
export async function bringAbout(steps: Steps, present: Wanted, progress: Progress): Promise<Reached> {
  const { amphorae, serving } = steps;
  const { lease } = progress;
  const { tree: asked, blueprint, amphorae: rows, tls } = present;
  const plan = planAmphorae(blueprint, rows, asked.loadBalancer.failover);
  const { loadBalancer, wanted } = await amphorae.record(asked.loadBalancer, plan);
  progress.row = loadBalancer;
  const tree = { ...asked, loadBalancer };

  const placed: Placed[] = [];
  for (const row of wanted) placed.push({ row, ports: await amphorae.reserve(tree, row) });
  const { shared, unneeded } = await amphorae.reserveShared(tree, blueprint.topology);
  const booted = await all(
    placed,
    ({ row }) => row,
    async ({ row, ports }) => ({ row: await amphorae.boot(tree, blueprint, row, ports, wanted, lease.signal), ports }),
  );
  lease.check();

  const leaving: Placed[] = [];
  for (const each of plan.retire.filter(hasServed)) {
    const row = { ...each, retiring: true };
    leaving.push({ row, ports: await amphorae.reserve(tree, row) });
  }
  const situation = { tree, topology: blueprint.topology, tls, shared, group: [...placed, ...leaving] };
  const byVrrp = [...placed, ...leaving].every(({ row }) => row.vrrp_id !== null);
  // no hung amphora may hold up the one that replaces it
  const listening = await serving.listening(leaving);
  const unheard = listening.length < leaving.length;
  const served = byVrrp
    ? await serve(steps, situation, booted.done, listening, unheard)
    : await serveAll(steps, situation, booted.done, leaving.length > 0);
  const failures = [...booted.failures, ...served.failures];
  const decisive = failures.find(({ error }) => DECISIVE.some((each) => error instanceof each));
  if (decisive !== undefined) throw decisive.error;
  lease.check();
  if (served.done.length === 0) {
    const silent = booted.failures.filter(({ error }) => error instanceof UnreachableError);
    await amphorae.startAfresh(
      loadBalancer.attempts,
      silent.map(({ row }) => row),
    );
    throw failures[0]?.error;
  }
  for (const { row, ports } of served.done) {
    lease.check();
    await amphorae.unplugOthers(row, ports);
  }
  if (failures.length > 0) {
    lease.check();
    // one that serves and is out of reach has an earlier spec: whom that names keeps the address
    if (!failures.some(({ row }) => hasServed(row))) {
      const failed = booted.failures.map(({ row }) => row);
      failures.push(...(await replaceFailed(amphorae, failed, plan.retire)));
    }
    const lag = failures.map(({ row, error }) => `amphora ${row.id}: ${messageOf(error)}`).join("; ");
    return { loadBalancer, lag };
  }
  if (leaving.length === 0) {
    await removeAll(amphorae, plan.retire, lease);
    // one that was out of reach may have answered for the VIPs until now: the same spec once more has them announced
    if (plan.retire.length > 0 && !byVrrp) await serveAll(steps, situation, served.done, false);
    await amphorae.release(unneeded);
    return { loadBalancer, lag: null };
  }

  const voters = served.done.flatMap(({ row }) => (row.vrrp_id === null ? [] : [row]));
  if (byVrrp) await serving.awaitCandidate(voters, lease.signal);
  lease.check();
  const next = await amphorae.advance(loadBalancer);
  progress.row = next;
  const after = { ...situation, tree: { ...asked, loadBalancer: next } };
  await serving.tellLeaving(after, listening, true);
  const alone = { ...after, group: placed };
  if (!byVrrp) for (const each of served.done) await serving.serve(alone, each);
  // one that has not been told has the VIPs until it is removed
  if (voters.length > 0 && !unheard) await serving.awaitMaster(voters, lease.signal);
  await removeAll(amphorae, plan.retire, lease);
  for (const each of served.done) await serving.serve(alone, each);
  await amphorae.release(unneeded);
  return { loadBalancer: next, lag: null };
}

/** Whether it may hold the VIPs now, and is to give them up in good order. */
function hasServed({ status }: Amphora): boolean {
  return status === "ALLOCATED";
}

/**
 * Those that serve hear of those that come before those hear of them: or one would take the VIPs, unaware of the others.
 * @param unheard whether one that is to go can't be told: to those that come it says nothing, and they would have the VIPs
 * beside it. Where another one is ready to take them, they wait until it is gone.
 */
async function serve(
  steps: Steps,
  situation: Situation,
  booted: readonly Placed[],
  leaving: readonly Placed[],
  unheard: boolean,
): Promise<Outcome<Placed>> {
  const [old, fresh] = [booted.filter(({ row }) => hasServed(row)), booted.filter(({ row }) => !hasServed(row))];
  const [first] = await Promise.all([
    serveAll(steps, situation, old, false),
    steps.serving.tellLeaving(situation, leaving, false),
  ]);
  const waits = unheard && (await steps.serving.hasCandidate(first.done.map(({ row }) => row)));
  const second = await serveAll(steps, situation, fresh, waits);
  return { done: [...first.done, ...second.done], failures: [...first.failures, ...second.failures] };
}

/** @param occupied whether others have the VIPs still, and VRRP does not decide: no two may answer for them */
function serveAll(
  { serving }: Steps,
  situation: Situation,
  booted: readonly Placed[],
  occupied: boolean,
): Promise<Outcome<Placed>> {
  return all(
    booted,
    ({ row }) => row,
    async (each) => {
      await serving.serve(situation, each, occupied && !hasServed(each.row));
      return each;
    },
  );
}

/**
 * Has others made in place of instances that did not come up, and removes those that were given up in an earlier round:
 * by now no spec names them.
 * @returns what could not be removed
 */
async function replaceFailed(
  amphorae: Amphorae,
  failed: readonly Amphora[],
  retired: readonly Amphora[],
): Promise<readonly Failed[]> {
  await amphorae.giveUp(failed);
  const removed = await all(
    retired.filter(({ revision }) => revision === NEVER_SERVED),
    (row) => row,
    (row) => amphorae.remove(row),
  );
  return removed.failures;
}

async function removeAll(amphorae: Amphorae, rows: readonly Amphora[], lease: Lease): Promise<void> {
  for (const row of rows) {
    lease.check();
    await amphorae.remove(row);
  }
}

interface Failed {
  readonly row: Amphora;
  readonly error: unknown;
}

interface Outcome<R> {
  readonly done: readonly R[];
  readonly failures: readonly Failed[];
}

/** Does it for all at once, and waits for each of them. */
async function all<T, R>(
  items: readonly T[],
  rowOf: (item: T) => Amphora,
  work: (item: T) => Promise<R>,
): Promise<Outcome<R>> {
  const results = await Promise.allSettled(items.map(work));
  const done: R[] = [];
  const failures: Failed[] = [];
  results.forEach((result, i) => {
    const item = items[i];
    if (result.status === "fulfilled") done.push(result.value);
    else if (item !== undefined) failures.push({ row: rowOf(item), error: result.reason });
  });
  return { done, failures };
}
