/** The roles of a controller in processes of their own, on one PostgreSQL. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Asking } from "../chaos/asking.ts";
import { Cable } from "../chaos/cable.ts";
import { ControllerProcess } from "../chaos/controllers.ts";
import { Random } from "../chaos/random.ts";
import { ask } from "../chaos/visitors.ts";
import { type Json, until } from "../support/deployment.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";
import { Postgres } from "../support/postgres.ts";

t.test("api, reconciler and health each in a process: a load balancer serves, and is seen to", async (t) => {
  const shared = await mkdtemp(join(tmpdir(), "amphora-roles-"));
  t.teardown(() => rm(shared, { recursive: true, force: true }));
  const postgres = await Postgres.start();
  t.teardown(() => postgres.stop());
  const database = await postgres.createDatabase();
  const make = (role: string, index: number) => {
    const cable = new Cable(join(shared, `cable-${index}`), postgres.folder);
    return new ControllerProcess(index, { folder: join(shared, role), shared, database }, cable, { role });
  };
  const controllers = ["reconciler", "health", "api"].map(make);
  const [reconciler, health, api] = controllers;
  if (reconciler === undefined || health === undefined || api === undefined) throw new Error("there are three");
  t.teardown(async () => {
    for (const each of controllers) await each.stop();
    await new ControllerProcess(9, { folder: join(shared, "all"), shared, database }, api.cable).removeAll();
    for (const each of controllers) await each.cable.cut();
  });
  for (const each of controllers) {
    await each.start();
    await until("it is ready", async () => (await each.lastLines(100)).includes("controller ready"), 60_000);
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
  for (const each of controllers) t.equal(await each.stop(), 0);
});
