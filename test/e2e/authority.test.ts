/** Another certificate authority takes the place of the first, while load balancers serve. */
import { join } from "node:path";
import { execa } from "execa";
import t from "tap";
import { Deployment, makeSite, until } from "../support/deployment.ts";
import { Load } from "../support/load.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";

const CONTROLLER = join(import.meta.dirname, "../../controller/amphora-controller");

t.test("the authority is replaced under load, by a command beside the controller", async (t) => {
  const deployment = await Deployment.make(t);
  const ca = async (action: string) => {
    const args = ["-u", "NODE_OPTIONS", CONTROLLER, "ca", action, "--data-dir", deployment.dataDir];
    const { exitCode, stdout, stderr } = await execa("env", args, { reject: false });
    return { exitCode, stdout, stderr };
  };
  t.match(await ca("show"), { exitCode: 1, stderr: /there is no .*amphora\.db/ });
  await deployment.start();
  t.match(await ca("sign"), { exitCode: 1, stderr: /must be one of show, rotate/ });

  const machine = await Machine.make(t, "10.77.0.201/24", "10.77.0.1");
  await machine.serve();
  const site = await makeSite(deployment, [{ address: machine.address, port: WEB_PORT }]);
  const before = await ca("show");
  t.match(before.stdout, /^signing .*SHA-256 [0-9A-F:]{95}\n1 of 1 amphorae have/);
  const load = Load.start(`http://${site.vip}/`, 120);
  t.equal((await ca("rotate")).exitCode, 0);
  t.match(await ca("rotate"), { exitCode: 1, stderr: /is being replaced already/ });
  let shown = "";
  // the former one is trusted for another minute: that it is forgotten then is tried with a shorter time elsewhere
  await until(
    () => `the new one signs: ${shown}`,
    async () => {
      shown = (await ca("show")).stdout;
      return /^former /m.test(shown) && shown.includes("1 of 1 amphorae have");
    },
    60_000,
  );
  t.not(fingerprint(shown), fingerprint(before.stdout), "another one signs");
  const amphorae = (await deployment.call("GET", "/v2.0/octavia/amphorae")).body.amphorae;
  t.match(amphorae, [{ status: "ALLOCATED", cert_busy: false }], "the same amphora");
  await deployment.change("PUT", `/v2.0/lbaas/pools/${site.pool}/members/${site.members[0]}`, {
    member: { weight: 7 },
  });
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, {
    provisioning_status: "ACTIVE",
    operating_status: "ONLINE",
  });
  const metrics = await (await fetch("http://127.0.0.1:9877/metrics")).text();
  t.match(metrics, /^amphora_agent_certificate_days_left (29\.\d+|30)$/m);
  t.match(metrics, /^amphora_authority_days_left 3\d{3}/m);
  const { requests, failed, output } = await load.stop();
  t.ok(requests > 100, `${requests} requests`);
  t.equal(failed, 0, output);
});

function fingerprint(shown: string): string {
  return /^signing .*SHA-256 ([0-9A-F:]{95})/m.exec(shown)?.[1] ?? "none";
}
