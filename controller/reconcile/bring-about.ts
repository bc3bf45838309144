/** From what is wanted of a load balancer to amphorae that serve it: new ones first, then the switch, then old ones go. */
import { RefusedError } from "../amphorae/client.ts";
import type { TlsMaterial } from "../certificates/tls.ts";
import type { Amphora } from "../model/amphora.ts";
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

/** What has come of it. */
export interface Reached {
  /** with the revision that is in force */
  readonly loadBalancer: LoadBalancer;
  /** why some amphorae do not serve it (yet), while others do; null: all do */
  readonly lag: string | null;
}

/**
 * @throws {OutdatedError} the load balancer has changed meanwhile
 * @throws {RefusedError} when an amphora refuses the spec @throws {AheadError} @throws whatever keeps all of them from it
 */
export async function bringAbout(steps: Steps, present: Wanted, lease: Lease): Promise<Reached> {
  const { amphorae, serving } = steps;
  const { tree: asked, blueprint, amphorae: rows, tls } = present;
  const plan = planAmphorae(blueprint, rows, asked.loadBalancer.failover);
  const { loadBalancer, wanted } = await amphorae.record(asked.loadBalancer, plan);
  const tree = { ...asked, loadBalancer };

  const placed: Placed[] = [];
  for (const row of wanted) placed.push({ row, ports: await amphorae.reserve(tree, row) });
  const booted = await all(
    placed,
    ({ row }) => row,
    async ({ row, ports }) => ({ row: await amphorae.boot(tree, blueprint, row, ports, wanted, lease.signal), ports }),
  );
  lease.check();

  const leaving: Placed[] = [];
  for (const row of plan.retire.filter(hasServed)) leaving.push({ row, ports: await amphorae.reserve(tree, row) });
  const situation = { tree, topology: blueprint.topology, tls, group: [...placed, ...leaving] };
  const served = await serve(steps, situation, booted.done, leaving);
  const failures = [...booted.failures, ...served.failures];
  const decisive = failures.find(({ error }) => error instanceof RefusedError || error instanceof AheadError);
  if (decisive !== undefined) throw decisive.error;
  if (served.done.length === 0) throw failures[0]?.error;
  for (const { row, ports } of served.done) {
    lease.check();
    await amphorae.unplugOthers(row, ports);
  }
  if (failures.length > 0) {
    await amphorae.giveUp(booted.failures.map(({ row }) => row));
    const lag = failures.map(({ row, error }) => `amphora ${row.id}: ${message(error)}`).join("; ");
    return { loadBalancer, lag };
  }
  if (leaving.length === 0) {
    await removeAll(amphorae, plan.retire, lease);
    return { loadBalancer, lag: null };
  }

  // one that is alone has the VIPs already
  const ready = served.done.flatMap(({ row }) => (row.vrrp_id === null ? [] : [row]));
  if (ready.length > 0) await serving.awaitCandidate(ready, lease.signal);
  lease.check();
  const next = await amphorae.advance(loadBalancer);
  const after = { ...situation, tree: { ...asked, loadBalancer: next } };
  await serving.tellLeaving(after, leaving, true);
  if (ready.length > 0) await serving.awaitMaster(ready, lease.signal);
  await removeAll(amphorae, plan.retire, lease);
  for (const each of served.done) await serving.serve({ ...after, group: placed }, each);
  return { loadBalancer: next, lag: null };
}

/** Whether it may hold the VIPs now, and is to give them up in good order. */
function hasServed({ status, vrrp_id }: Amphora): boolean {
  return status === "ALLOCATED" && vrrp_id !== null;
}

/** Those that serve hear of those that come before those hear of them: or one would take the VIPs, unaware of the others. */
async function serve(
  { serving }: Steps,
  situation: Situation,
  booted: readonly Placed[],
  leaving: readonly Placed[],
): Promise<Outcome<Placed>> {
  const give = (some: readonly Placed[]) =>
    all(
      some,
      ({ row }) => row,
      async (each) => {
        await serving.serve(situation, each);
        return each;
      },
    );
  const [old, fresh] = [booted.filter(({ row }) => isOld(row)), booted.filter(({ row }) => !isOld(row))];
  const [first] = await Promise.all([give(old), serving.tellLeaving(situation, leaving, false)]);
  const second = await give(fresh);
  return { done: [...first.done, ...second.done], failures: [...first.failures, ...second.failures] };
}

function isOld({ status }: Amphora): boolean {
  return status === "ALLOCATED";
}

async function removeAll(amphorae: Amphorae, rows: readonly Amphora[], lease: Lease): Promise<void> {
  for (const row of rows) {
    lease.check();
    await amphorae.remove(row);
  }
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
