/**
 * Chaos: several controllers on one PostgreSQL, tenants who change their load balancers at random, visitors who ask all
 * the time; and everything that can die, stop or be cut off does. A seed repeats the choices, not their timing.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Json, until } from "../support/deployment.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";
import { Postgres } from "../support/postgres.ts";
import type { Scope } from "../support/scope.ts";
import { Asking } from "./asking.ts";
import { Cable } from "./cable.ts";
import { ControllerProcess } from "./controllers.ts";
import type { Known } from "./ledger.ts";
import { Random } from "./random.ts";
import { tenants } from "./tenants.ts";
import { heal, type Trouble, troubles, type Victims } from "./troubles.ts";
import { verdict } from "./verdict.ts";
import { ask, type Failure, visit } from "./visitors.ts";

export interface ChaosOptions {
  readonly seed: number;
  readonly loadBalancers: number;
  /** of these, how many are ACTIVE_STANDBY */
  readonly pairs: number;
  /** how long there are troubles, s */
  readonly seconds: number;
  /** between two troubles, and between two changes, ms, on average */
  readonly troublePause: number;
  readonly changePause: number;
  readonly say: (line: string) => void;
}

export interface Result {
  /** what is not as it must be */
  readonly wrong: readonly string[];
  /** answers that no request deserved */
  readonly faults: readonly string[];
  /** of controllers that ended by themselves, or could not be stopped */
  readonly crashes: readonly string[];
  readonly troubles: readonly Trouble[];
  /** of visitors of pairs, outside what a dead data plane explains */
  readonly unexplained: readonly Failure[];
  readonly asked: number;
}

const CONTROLLERS = 3;
/** After all is healed, everything is in order within this (ms): a lease must run out, and failures are retried after 30 s. */
const CALM_LIMIT = 120_000;
/** A data plane that died is back, or its peer has taken over (ms). */
const GAP = 5000;
/** An amphora whose agent hangs, or that a tenant wants replaced, is so within this (ms): others must boot first. */
const REPLACED = 60_000;
/** What a connection says that the next amphora knows nothing of. */
const CUT = /ECONNRESET|socket hang up/;

export async function chaos(scope: Scope, options: ChaosOptions): Promise<Result> {
  const { seed, seconds, say, troublePause, changePause } = options;
  const random = new Random(seed);
  say(`seed ${seed}`);
  const victims = await prepare(scope);
  const asking = new Asking(victims.controllers, random);
  const addresses = await machines(scope);
  const started = performance.now();
  const ledger = await populate(asking, options, addresses);
  say(`${ledger.length} load balancers serve after ${took(started)}`);

  const end = AbortSignal.timeout(seconds * 1000);
  const calm = new AbortController();
  const pairs = ledger.filter(({ isPair }) => isPair);
  const visits = visit(pairs, calm.signal);
  const [befallen] = await Promise.all([
    troubles(victims, new Random(seed + 1), troublePause, end),
    tenants({ asking, random, addresses, ledger }, changePause, end),
  ]);
  say(`${befallen.length} troubles; changes: ${JSON.stringify(asking.counts)}`);
  await heal(victims);
  const healed = performance.now();
  let wrong: string[] = [];
  const deadline = Date.now() + CALM_LIMIT;
  do {
    await sleep(500);
    wrong = await verdict(asking, ledger, victims.computeDir);
  } while (wrong.length > 0 && Date.now() < deadline);
  say(wrong.length === 0 ? `all is well ${took(healed)} after the last of them` : wrong.join("\n"));
  calm.abort();
  const { failures, asked } = await visits;
  const unexplained = await unexplainedOf(failures, befallen, ledger, asking);
  say(`visitors: ${asked} asked, ${failures.length} failed, ${unexplained.length} of these without a reason`);
  if (wrong.length > 0) for (const each of victims.controllers) say(await each.lastLines(40));
  for (const each of victims.controllers) await each.stop();
  const crashes = victims.controllers.flatMap((each) => each.crashes);
  return { wrong, faults: asking.faults, crashes, troubles: befallen, unexplained, asked };
}

async function prepare(scope: Scope): Promise<Victims> {
  const shared = await mkdtemp(join(tmpdir(), "amphora-chaos-"));
  scope.teardown(() => rm(shared, { recursive: true, force: true }));
  const database = await Postgres.start();
  scope.teardown(() => database.stop());
  const name = await database.createDatabase();
  const controllers = Array.from({ length: CONTROLLERS }, (_, index) => {
    const folder = join(shared, `controller-${index}`);
    const cable = new Cable(join(shared, `cable-${index}`), database.folder);
    return new ControllerProcess(index, { folder, shared, database: name }, cable);
  });
  scope.teardown(async () => {
    for (const each of controllers) {
      each.thaw();
      await each.stop();
    }
    await controllers[0]?.removeAll();
    for (const each of controllers) await each.cable.cut();
  });
  for (const each of controllers) await each.start();
  for (const { base } of controllers) {
    await until(
      `${base} answers`,
      () =>
        fetch(`${base}/healthcheck`).then(
          ({ ok }) => ok,
          () => false,
        ),
      60_000,
    );
  }
  return { controllers, database, computeDir: join(shared, "compute") };
}

async function machines(scope: Scope): Promise<string[]> {
  const addresses: string[] = [];
  for (const last of [201, 202, 203]) {
    const machine = await Machine.make(scope, `10.77.0.${last}/24`, "10.77.0.1");
    await machine.serve();
    addresses.push(machine.address);
  }
  return addresses;
}

async function populate(asking: Asking, options: ChaosOptions, addresses: readonly string[]): Promise<Known[]> {
  const { loadBalancers, pairs } = options;
  const flavor = await pairFlavor(asking);
  const [address = ""] = addresses;
  const ledger: Known[] = [];
  for (let i = 0; i < loadBalancers; i++) {
    const name = `chaos ${i}`;
    const isPair = i < pairs;
    const pool = { name: "web", protocol: "HTTP", lb_algorithm: "ROUND_ROBIN" };
    const member = { address, protocol_port: WEB_PORT, weight: 1 };
    const listeners = [{ protocol: "HTTP", protocol_port: 80, default_pool: { ...pool, members: [member] } }];
    const wish = { name, listeners, ...(isPair ? { flavor_id: flavor } : {}) };
    const made = await must(asking, "POST", "/loadbalancers", { loadbalancer: wish }, "loadbalancer");
    const [web] = made.pools as Json[];
    const [only] = (web?.members ?? []) as Json[];
    ledger.push({
      id: String(made.id),
      vip: String(made.vip_address),
      pool: String(web?.id),
      isPair,
      name,
      members: new Map([[address, 1]]),
      ids: new Map([[address, String(only?.id)]]),
      listeners: new Map(),
      listenerIds: new Map(),
      failovers: [],
    });
  }
  for (const { vip } of ledger) await until(`${vip} serves`, async () => (await ask(vip)) === null, 120_000);
  return ledger;
}

async function pairFlavor(asking: Asking): Promise<string> {
  const profile = { name: "pair", provider_name: "amphora", flavor_data: '{"loadbalancer_topology":"ACTIVE_STANDBY"}' };
  const { id } = await must(asking, "POST", "/flavorprofiles", { flavorprofile: profile }, "flavorprofile");
  const flavor = { name: "pair", flavor_profile_id: id, enabled: true };
  return String((await must(asking, "POST", "/flavors", { flavor }, "flavor")).id);
}

async function must(asking: Asking, method: "POST", path: string, body: unknown, key: string): Promise<Json> {
  const { verdict, body: answer } = await asking.change(method, path, body);
  const made = answer[key];
  if (verdict !== "done" || made === undefined) throw new Error(`${method} ${path}: ${verdict} ${asking.faults}`);
  return made;
}

/** Failures that neither a dead data plane of that load balancer explains, nor one that was replaced. */
async function unexplainedOf(
  failures: readonly Failure[],
  befallen: readonly Trouble[],
  ledger: readonly Known[],
  asking: Asking,
): Promise<Failure[]> {
  const body = await asking.look("/v2.0/octavia/amphorae");
  const owners = new Map((body.amphorae as unknown as Json[]).map(({ id, loadbalancer_id }) => [id, loadbalancer_id]));
  // one that has been replaced since may have been anybody's
  const ownerOf = (amphora: string, otherwise: string) => owners.get(amphora) ?? otherwise;
  const failedOver = ({ id, from, to, why }: Failure) =>
    CUT.test(why) &&
    ledger.some((each) => each.id === id && each.failovers.some((at) => at <= to && from <= at + REPLACED));
  const unasked = failures.filter((each) => !failedOver(each));
  return unasked.filter(({ id, from, to, why }) =>
    befallen.every(({ at, amphora, hung = null }) => {
      const died = amphora !== null && ownerOf(amphora, id) === id && from <= at + GAP;
      const replaced = hung !== null && CUT.test(why) && ownerOf(hung, id) === id && from <= at + REPLACED;
      return to < at || !(died || replaced);
    }),
  );
}

function took(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
