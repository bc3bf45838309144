/** What HAProxy refuses stops nothing that serves, is told, and heals. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { Deployment, LBAAS, makeSite } from "../support/deployment.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";

t.test(
  "a change that the amphora refuses leaves the old one serving, shows why, and heals when the cause is gone",
  async (t) => {
    const deployment = await Deployment.make(t);
    await deployment.start();
    const machine = await Machine.make(t, "10.77.0.201/24", "10.77.0.1");
    await machine.serve();
    const site = await makeSite(deployment, [{ address: machine.address, port: WEB_PORT }]);
    const get = async () => (await fetch(`http://${site.vip}/`, { headers: { connection: "close" } })).text();
    t.equal(await get(), `${machine.name}\n`);

    // something inside the amphora has the port
    const squatter = await occupy(site.vip, 81);
    t.teardown(() => squatter.kill());
    const path = `/loadbalancers/${site.id}`;
    const listener = await deployment.create("listener", "/listeners", {
      loadbalancer_id: site.id,
      protocol: "HTTP",
      protocol_port: 81,
    });
    const failed = await deployment.becomes("loadbalancer", path, { provisioning_status: "ERROR" });
    t.match(failed.status_reason, /another process .* port 81/, "the reason is on the load balancer");
    t.match(
      await readFile(join(deployment.dataDir, "controller.log"), "utf8"),
      /another process .* port 81/,
      "and in the log",
    );
    t.equal((await deployment.show("listener", `/listeners/${listener.id}`)).provisioning_status, "ERROR");
    t.equal(await get(), `${machine.name}\n`, "what served goes on serving");

    await t.test("the tenant can take the change back", async (t) => {
      await deployment.change("DELETE", `${LBAAS}/listeners/${listener.id}`);
      const healed = await deployment.becomes("loadbalancer", path, { provisioning_status: "ACTIVE" });
      t.equal(healed.status_reason, null);
      t.equal((await deployment.call("GET", `${LBAAS}/listeners/${listener.id}`)).status, 404);
    });
    await t.test("or it heals by itself when the port is free", async (t) => {
      await deployment.create("listener", "/listeners", {
        loadbalancer_id: site.id,
        protocol: "HTTP",
        protocol_port: 81,
      });
      await deployment.becomes("loadbalancer", path, { provisioning_status: "ERROR" });
      squatter.kill();
      await deployment.becomes("loadbalancer", path, { provisioning_status: "ACTIVE" }, 45_000);
      const response = await fetch(`http://${site.vip}:81/`);
      t.equal(response.status, 503, "the new listener answers: it has no pool");
    });
  },
);

t.test("failover replaces the amphora, and the VIP serves again", async (t) => {
  const deployment = await Deployment.make(t);
  await deployment.start();
  const machine = await Machine.make(t, "10.77.0.201/24", "10.77.0.1");
  await machine.serve();
  const site = await makeSite(deployment, [{ address: machine.address, port: WEB_PORT }]);
  const ids = async () => {
    const { body } = await deployment.call("GET", "/v2.0/octavia/amphorae");
    return (body.amphorae as unknown as { id: string }[]).map(({ id }) => id);
  };
  const before = await ids();
  const reply = await deployment.call("PUT", `${LBAAS}/loadbalancers/${site.id}/failover`);
  t.equal(reply.status, 202);
  await deployment.becomes("loadbalancer", `/loadbalancers/${site.id}`, { provisioning_status: "ACTIVE" });
  const after = await ids();
  t.equal(after.length, 1);
  t.not(after[0], before[0], "another amphora serves");
  const response = await fetch(`http://${site.vip}/`, { signal: AbortSignal.timeout(5000) });
  t.equal(await response.text(), `${machine.name}\n`);
  t.same(await readdir(join(deployment.dataDir, "amphorae")), after, "the old one is gone");
});

/** A process in the amphora's namespace that listens on the address. */
async function occupy(address: string, port: number): Promise<{ kill(): void }> {
  const { execa } = await import("execa");
  const names = (await readdir("/run/netns")).filter((name) => /^amphora-[0-9a-f]{4}-/.test(name));
  const script = `require("net").createServer().listen(${port}, "${address}", () => console.log("listening"))`;
  const child = execa("nsenter", [`--net=/run/netns/${names[0]}`, "--", process.execPath, "-e", script], {
    reject: false,
  });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  return { kill: () => child.kill("SIGKILL") };
}
