/** From `POST loadbalancers` to the first 200 through the VIP, and how long a change takes to be in force. */
import { setTimeout as sleep } from "node:timers/promises";
import { Deployment, LBAAS, makeSite } from "../support/deployment.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";
import { measure, print } from "./figures.ts";

const cleanups: (() => unknown)[] = [];
const scope = { teardown: (cleanup: () => unknown) => void cleanups.unshift(cleanup) };
try {
  const deployment = await Deployment.make(scope);
  await deployment.start();
  const machine = await Machine.make(scope, "10.77.0.201/24", "10.77.0.1");
  await machine.serve();
  const members = [{ address: machine.address, port: WEB_PORT }];

  const answer = async () => {
    const site = await makeSite(deployment, members);
    while (!(await answers(site.vip))) await sleep(2);
    return site;
  };
  const sites: Awaited<ReturnType<typeof answer>>[] = [];
  print("POST loadbalancers ... first 200 through the VIP", await measure(10, async () => sites.push(await answer())));

  const [site] = sites;
  if (site === undefined) throw new Error("there is no site");
  const settled = () =>
    deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" });
  print(
    "PUT member weight ... ACTIVE (no reload)",
    await measure(50, async (i) => {
      const path = `${LBAAS}/pools/${site.pool}/members/${site.members[0]}`;
      await deployment.change("PUT", path, { member: { weight: (i % 100) + 2 } });
      await settled();
    }),
  );
  print(
    "PUT listener timeout ... ACTIVE (hitless reload)",
    await measure(50, async (i) => {
      await deployment.change("PUT", `${LBAAS}/listeners/${site.listener}`, {
        listener: { timeout_client_data: 60_000 + i },
      });
      await settled();
    }),
  );
} finally {
  for (const cleanup of cleanups) await cleanup();
}

function answers(vip: string): Promise<boolean> {
  return fetch(`http://${vip}/`, { signal: AbortSignal.timeout(1000) }).then(
    async (response) => {
      await response.text();
      return response.status === 200;
    },
    () => false,
  );
}
