/** What a newcomer does: `npm run up`, the printed lines, Ctrl-C, and again. */
import { access } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import t from "tap";
import { amphoraProcesses, Deployment, hostState, LBAAS } from "../support/deployment.ts";

t.test(
  "npm run up brings a load balancer that serves, Ctrl-C removes everything, and the next start brings it back",
  async (t) => {
    const before = await hostState();
    const deployment = await Deployment.make(t);
    const npm = (...options: string[]) =>
      deployment.spawn("npm", ["run", "up", "--", "--data-dir", deployment.dataDir, ...options]);

    npm();
    await deployment.upOrGone();
    const lines = printedCommands(deployment.output);
    t.equal(lines.length, 2, "two lines to paste are printed");
    const [curlVip = "", curlApi = ""] = lines;
    const answers: string[] = [];
    for (let i = 0; i < 6; i++) answers.push((await execa("sh", ["-c", curlVip])).stdout);
    const [first = "", second = ""] = answers;
    t.same(new Set([first, second]), new Set(["web1", "web2"]), "both members answer");
    t.same(answers, [first, second, first, second, first, second], "requests alternate");
    const listed = JSON.parse((await execa("sh", ["-c", curlApi])).stdout);
    t.match(listed.loadbalancers, [{ name: "demo", provisioning_status: "ACTIVE", operating_status: "ONLINE" }]);
    t.equal((await execa("stat", ["-c", "%a", join(deployment.dataDir, "admin-token")])).stdout, "600");

    t.equal(await deployment.stop("SIGINT"), 0, "Ctrl-C ends it well");
    t.same(await hostState(), before, "nothing is left on the host");

    npm();
    await deployment.upOrGone();
    const again = await deployment.call("GET", `${LBAAS}/loadbalancers`);
    t.match(again.body, {
      loadbalancers: [{ id: listed.loadbalancers[0].id, vip_address: listed.loadbalancers[0].vip_address }],
    });
    t.equal(printedCommands(deployment.output)[0], curlVip, "the VIP is the same");
    t.match((await execa("sh", ["-c", curlVip])).stdout, /^web[12]$/);

    t.equal(await deployment.stop("SIGTERM"), 0, "SIGTERM ends it as well");
    t.same(await hostState(), before);
  },
);

t.test("options decide port, address, subnet, token, and whether there is a demo", async (t) => {
  const deployment = await Deployment.make(t);
  await deployment.up("--no-demo", "--subnet", "10.78.0.0/24", "--admin-token", "s3cret");
  t.equal(await deployment.token(), "s3cret");
  t.same((await deployment.call("GET", `${LBAAS}/loadbalancers`)).body.loadbalancers, [], "there is no load balancer");
  const created = await deployment.create("loadbalancer", "/loadbalancers", { name: "elsewhere" });
  t.match(created.vip_address, /^10\.78\.0\./);
  await deployment.stop();

  deployment.spawn("controller/amphora-controller", [
    ...["up", "--no-demo", "--data-dir", deployment.dataDir, "--port", "9999", "--listen", "127.0.0.9"],
    ...["--subnet", "10.78.0.0/24"],
  ]);
  await deployment.upOrGone();
  const response = await fetch("http://127.0.0.9:9999/", { signal: AbortSignal.timeout(5000) });
  t.equal(response.status, 200);
  t.equal(await deployment.stop(), 0);
});

t.test("on an IPv6 subnet the demo serves as well", async (t) => {
  const deployment = await Deployment.make(t);
  await deployment.up("--subnet", "fd77:1::/64");
  const [curl = ""] = printedCommands(deployment.output);
  t.match(curl, "fd77:1::");
  const answers = [(await execa("sh", ["-c", curl])).stdout, (await execa("sh", ["-c", curl])).stdout];
  t.same(answers.sort(), ["web1", "web2"]);
  t.equal(await deployment.stop(), 0);
});

t.test("what can't be is said in one line, with exit code 1 and nothing left behind", async (t) => {
  const before = await hostState();
  const running = await Deployment.make(t);
  const other = await Deployment.make(t);
  const refused = async (
    options: string[],
    pattern: RegExp,
    command: [string, ...string[]] = ["controller/amphora-controller"],
  ) => {
    const dataDir = join(other.dataDir, "new");
    const [file, ...args] = command;
    other.spawn(file, [...args, "up", "--data-dir", dataDir, ...options]);
    t.equal(await other.exit(), 1, other.output);
    t.match(other.output.trim(), pattern);
    t.equal(other.output.trim().split("\n").length, 1, `one line: ${other.output}`);
    await t.rejects(access(dataDir), "no data is left");
  };

  await refused([], /root/, ["setpriv", "--reuid=65534", "--clear-groups", "controller/amphora-controller"]);
  await refused(["--subnet", "10.77.0.1/24"], /subnet: .*network/);
  await refused(["--port", "99999"], /port: /);
  await execa("ip", ["link", "add", "uplink", "type", "bridge"]);
  await execa("ip", ["address", "add", "10.77.3.1/16", "dev", "uplink"]);
  await execa("ip", ["link", "set", "uplink", "up"]);
  await refused([], /10\.77\.0\.0\/24 collides with .*10\.77\.0\.0\/16.*--subnet/);
  await execa("ip", ["link", "delete", "uplink"]);
  await running.start();
  await refused([], /port 9876 .*taken.*--port/);
  await refused(["--port", "9875"], /heartbeat-port/);
  other.spawn("controller/amphora-controller", ["up", "--data-dir", running.dataDir, "--port", "9875"]);
  t.equal(await other.exit(), 1);
  t.match(other.output, /process \d+ uses/);
  t.equal((await running.call("GET", `${LBAAS}/loadbalancers`)).status, 200, "the one that runs is not disturbed");
  await running.stop();
  t.same(await hostState(), before);
  t.same(await amphoraProcesses(), []);
});

/** The indented lines that begin with curl. */
function printedCommands(output: string): string[] {
  return output
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line.startsWith("curl "));
}
