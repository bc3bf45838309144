/**
 * How long a VIP is away while its load balancer is failed over on request, by topology, through the whole controller, for
 * a client that asks 200 times a second. BENCH_ROUNDS (10) is how often each, BENCH_ONLY a part of a topology's name.
 */
import { Deployment, LBAAS, makeFlavor, makeSite } from "../support/deployment.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";
import { withScope } from "../support/scope.ts";
import { print } from "./figures.ts";
import { Asking, type Gap, printGaps } from "./gap.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 10);
const TOPOLOGIES = [
  { loadbalancer_topology: "SINGLE" },
  { loadbalancer_topology: "ACTIVE_STANDBY" },
  { loadbalancer_topology: "ACTIVE_ACTIVE", replicas: 3 },
];

await withScope(async (scope) => {
  const deployment = await Deployment.make(scope);
  await deployment.start();
  const machine = await Machine.make(scope, "10.77.0.201/24", "10.77.0.1");
  await machine.serve();
  for (const topology of TOPOLOGIES) {
    const { loadbalancer_topology: name } = topology;
    if (!name.includes(process.env.BENCH_ONLY ?? "")) continue;
    const options = { flavor_id: await makeFlavor(deployment, topology) };
    const { id, vip } = await makeSite(deployment, [{ address: machine.address, port: WEB_PORT }], undefined, options);
    const path = `/loadbalancers/${id}`;
    const gaps: Gap[] = [];
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const asking = Asking.start(vip);
      await asking.calm();
      const at = performance.now();
      await deployment.change("PUT", `${LBAAS}${path}/failover`);
      await deployment.becomes("loadbalancer", path, { provisioning_status: "ACTIVE" }, 60_000);
      times.push(performance.now() - at);
      await asking.calm();
      gaps.push(await asking.stop(at));
    }
    printGaps(`${name}, no answer`, gaps);
    print(`${name}, PUT failover ... ACTIVE`, times);
    await deployment.change("DELETE", `${LBAAS}${path}?cascade=true`);
  }
});
process.exit();
