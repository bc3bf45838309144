/** Several controllers on one PostgreSQL and one host: with a role each, and at once. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Asking } from "../chaos/asking.ts";
import { Cable } from "../chaos/cable.ts";
import { ControllerProcess } from "../chaos/controllers.ts";
import { Random } from "../chaos/random.ts";
import { ask } from "../chaos/visitors.ts";
import { hostState, type Json, until } from "../support/deployment.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";
import { Postgres } from "../support/postgres.ts";
import type { Scope } from "../support/scope.ts";

t.test("api, reconciler and health each in a process: a load balancer serves, and is seen to", async (t) => {
  const [reconciler, health, api] = await deployment(t, [{ role: "reconciler" }, { role: "health" }, { role: "api" }]);
  if (reconciler === undefined || health === undefined || api === undefined) throw new Error("there are three");
  for (const each of [reconciler, health, api]) {
    await each.start();
    await isReady(each);
  }

  const asking = new Asking([api], new Random(1));
  const machine = await Machine.make(t, "10.77.0.201/24", "10.77.0.1");
  await machine.serve();
  const member = { address: machine.address, protocol_port: WEB_PORT };
  const pool = { name: "web", protocol: "HTTP", lb_algorithm: "ROUND_ROBIN", members: [member] };
  const wish = { name: "one", listeners: [{ protocol: "HTTP", protocol_port: 80, default_pool: pool }] };
  const { body } = await asking.change("POST", "/loadbalancers", { loadbalancer: wish });
  const { id, vip_address } = body.loadbalancer ?? {};
  await until("it serves", async () => (await ask(String(vip_address))) === null, 60_000);
  await until("it is ACTIVE and ONLINE", async () => {
    const { loadbalancer } = await asking.look(`/loadbalancers/${id}`);
    return loadbalancer?.provisioning_status === "ACTIVE" && loadbalancer.operating_status === "ONLINE";
  });
  const { controllers: rows } = await asking.look("/v2.0/octavia/controllers");
  t.strictSame((rows as unknown as Json[]).map(({ roles, state }) => [roles, state]).sort(), [
    [["api"], "UP"],
    [["health"], "UP"],
    [["reconciler"], "UP"],
  ]);
  for (const each of [reconciler, health, api]) {
    await each.stop();
    t.same(each.crashes, []);
  }
});

t.test("of controllers that begin at once on one host, one that can't start leaves the others theirs", async (t) => {
  const [first, second, third] = await deployment(t, [{ "metrics-port": 9999 }, {}, { "metrics-port": 9999 }]);
  if (first === undefined || second === undefined || third === undefined) throw new Error("there are three");
  await Promise.all([first.start(), second.start()]);
  await Promise.all([isReady(first), isReady(second)]);
  const before = await hostState();
  t.equal(before.links.filter((name) => name.startsWith("amb")).length, 1);
  await third.start();
  await until("it gives up", async () => third.crashes.length > 0, 60_000);
  await third.stop();
  t.match(third.crashes[0], /ended by itself: 1\n.*EADDRINUSE.*9999/);
  t.same(await hostState(), before);
  for (const each of [first, second]) {
    await each.stop();
    t.same(each.crashes, []);
  }
});

/** Controllers on one database and this host, each with settings of its own; they are to be started. */
async function deployment(t: Scope, settings: readonly Record<string, unknown>[]): Promise<ControllerProcess[]> {
  const shared = await mkdtemp(join(tmpdir(), "amphora-roles-"));
  t.teardown(() => rm(shared, { recursive: true, force: true }));
  const postgres = await Postgres.start();
  t.teardown(() => postgres.stop());
  const database = await postgres.createDatabase();
  const make = (index: number, more: Record<string, unknown>) => {
    const cable = new Cable(join(shared, `cable-${index}`), postgres.folder);
    return new ControllerProcess(index, { folder: join(shared, `${index}`), shared, database }, cable, more);
  };
  const controllers = settings.map((more, index) => make(index, more));
  t.teardown(async () => {
    for (const each of controllers) await each.stop();
    const last = make(settings.length, {});
    await last.cable.mend();
    await last.removeAll();
    for (const each of [...controllers, last]) await each.cable.cut();
  });
  return controllers;
}

async function isReady(controller: ControllerProcess): Promise<void> {
  const ready = async () => (await controller.lastLines(100)).includes("controller ready");
  await until(`controller ${controller.index} is ready`, ready, 60_000);
}
