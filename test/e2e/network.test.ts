/** What can be reached from where. */
import { execa } from "execa";
import t from "tap";
import { Deployment, makeSite } from "../support/deployment.ts";
import { deploymentBridge, Machine, WEB_PORT } from "../support/machine.ts";

t.test("a member may lie beyond the subnet's gateway; no tenant reaches the management network", async (t) => {
  // the world outside: another network that this host routes to, and that knows nothing of the tenants' subnet
  await execa("ip", ["link", "add", "outside", "type", "bridge"]);
  await execa("ip", ["address", "add", "192.0.2.1/24", "dev", "outside"]);
  await execa("ip", ["link", "set", "outside", "up"]);
  await execa("ip", ["route", "add", "default", "via", "192.0.2.7"]);
  const deployment = await Deployment.make(t);
  await deployment.start();
  const far = await Machine.make(t, "192.0.2.7/24", "192.0.2.1", "outside");
  await far.run("ip", ["route", "delete", "default"]);
  await far.serve();
  const tenant = await Machine.make(t, "10.77.0.201/24", "10.77.0.1", await deploymentBridge());
  const site = await makeSite(deployment, [{ address: far.address, port: WEB_PORT }]);

  const get = async (from: Machine | null, url: string) => {
    const args = ["-s", "-k", "-m", "3", "-o", "-", url];
    const { exitCode, stdout } =
      from === null ? await execa("curl", args, { reject: false }) : await from.run("curl", args);
    return exitCode === 0 ? stdout.trim() : "refused";
  };
  t.equal(await get(null, `http://${site.vip}/`), far.name, "from the host");
  t.equal(await get(tenant, `http://${site.vip}/`), far.name, "from a tenant's machine");
  t.equal(await get(far, `http://${site.vip}/`), "refused", "not from outside");

  const { body } = await deployment.call("GET", "/v2.0/octavia/amphorae");
  const [amphora] = body.amphorae as unknown as { lb_network_ip: string }[];
  const agent = `https://${amphora?.lb_network_ip}:9443/v1/info`;
  t.equal(await get(tenant, agent), "refused", "a tenant does not reach an agent");
  await tenant.run("ip", ["route", "add", "127.77.0.0/16", "via", "10.77.0.1"]);
  await tenant.run("sysctl", ["-q", "-w", "net.ipv4.conf.all.route_localnet=1"]);
  t.equal(await get(tenant, agent), "refused", "nor with a route of its own");
  t.equal(await get(tenant, "http://10.77.0.1:9876/"), "refused", "nor the controller, which listens on loopback");
});
