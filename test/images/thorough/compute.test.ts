/** Amphorae as machines: a deployment with compute qemu, on a host whose own kernel may lack IPVS. One machine boots. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import t from "tap";
import { Deployment, hostState, type Json, LBAAS, until } from "../../support/deployment.ts";
import { imageUnderTest } from "../../support/images.ts";
import { Machine, WEB_PORT } from "../../support/machine.ts";

/** Under emulation, on a busy host (ms). */
const BOOT_LIMIT = 900_000;
const REQUESTS = 20;
const UDP_PORT = 5353;
const SUBNETS = [
  { id: "00000000-0000-4000-8000-000000000077", cidr: "10.77.0.0/24" },
  { id: "00000000-0000-4000-8000-000000000078", cidr: "10.78.0.0/24" },
] as const;
/** A member that sends each datagram back. */
const ECHO = `const socket = require("node:dgram").createSocket("udp4", (message, { port, address }) =>
  socket.send(message, port, address)); socket.bind(${UDP_PORT});`;

t.test("a machine serves HTTP, FORWARD_TCP and UDP, outlives its controller, and shuts down with it", async (t) => {
  const image = await imageUnderTest("x86_64");
  const before = await hostState();
  const deployment = await Deployment.make(t);
  t.teardown(() => endMachines(deployment.dataDir));
  const config = join(deployment.dataDir, "settings.yaml");
  const settings = {
    compute: "qemu",
    qemu: { images: { x86_64: image } },
    "compute-flavors": [{ name: "test", cpus: 2, "memory-mib": 1024 }],
    "boot-limit-s": 800,
    subnets: SUBNETS,
  };
  await writeFile(config, JSON.stringify(settings));
  await deployment.start("--config", config);
  const near = await bridgeOf("10.77.0.1");
  const members = [
    await Machine.make(t, "10.77.0.201/24", "10.77.0.1", near),
    await Machine.make(t, "10.77.0.202/24", "10.77.0.1", near),
  ] as const;
  for (const each of members) await each.serve();
  members[0].spawn(process.execPath, ["-e", ECHO]);

  const pool = (protocol: string, port: number, some: readonly Machine[]) => ({
    protocol,
    lb_algorithm: "ROUND_ROBIN",
    members: some.map(({ address }) => ({ address, protocol_port: port })),
  });
  const { id, vip_address: vip } = await deployment.create("loadbalancer", "/loadbalancers", {
    name: "machine",
    listeners: [
      { protocol: "HTTP", protocol_port: 80, default_pool: pool("HTTP", WEB_PORT, members) },
      { protocol: "FORWARD_TCP", protocol_port: 81, default_pool: pool("FORWARD_TCP", WEB_PORT, members) },
      { protocol: "UDP", protocol_port: 53, default_pool: pool("UDP", UDP_PORT, members.slice(0, 1)) },
    ],
  });
  const isActive = (limit: number) =>
    deployment.becomes("loadbalancer", `/loadbalancers/${id}`, { provisioning_status: "ACTIVE" }, limit);
  await isActive(BOOT_LIMIT);

  const client = await Machine.make(t, "10.77.0.203/24", "10.77.0.1", near);
  const names = members.map(({ name }) => name).sort();
  const ask = async (port: number) => (await client.run("curl", ["-s", "-m", "20", `http://${vip}:${port}/`])).stdout;
  for (const port of [80, 81]) {
    await until(`port ${port} answers`, async () => names.includes(await ask(port)), 60_000);
    const answers = new Set<string>();
    for (let i = 0; i < REQUESTS; i++) answers.add(await ask(port));
    t.strictSame([...answers].sort(), names, `every member answers on port ${port}, and nobody else`);
  }
  const echo = () =>
    client.run("bash", ["-c", `exec 3<>/dev/udp/${vip}/53; printf x >&3; read -t 10 -n 1 -u 3 answer; echo $answer`]);
  await until("the UDP member answers", async () => (await echo()).stdout === "x", 60_000);

  const far = await Machine.make(t, "10.78.0.201/24", "10.78.0.1", await bridgeOf("10.78.0.1"));
  await far.serve();
  const plugged = (await hostState()).links;
  const { pools } = (await deployment.call("GET", `${LBAAS}/pools?loadbalancer_id=${id}&protocol=HTTP`)).body;
  const path = `/pools/${(pools as unknown as Json[])[0]?.id}/members`;
  const values = { address: far.address, protocol_port: WEB_PORT, subnet_id: SUBNETS[1].id };
  const { id: member } = await deployment.create("member", path, values);
  await isActive(BOOT_LIMIT);
  await until("a member on a subnet that the running machine has had no interface on", async () => {
    return (await ask(80)) === far.name;
  });
  t.equal((await hostState()).links.length, plugged.length + 1);
  await deployment.change("DELETE", `${LBAAS}${path}/${member}`);
  await isActive(BOOT_LIMIT);
  t.strictSame((await hostState()).links, plugged, "the interface goes with the subnet's last member");
  t.ok(names.includes(await ask(80)), "and the others serve");

  const [machine] = await machines(deployment.dataDir);
  t.match(await userOf(machine), /^[1-9]\d+$/, "the machine is not root's");
  await deployment.kill();
  t.ok(names.includes(await ask(81)), "traffic passes without a controller");
  await deployment.start("--config", config);
  await isActive(BOOT_LIMIT);
  t.strictSame(await machines(deployment.dataDir), [machine], "the same machine goes on");

  // emulated, it takes longer than a test waits for a controller by default
  const stop = deployment.stop("SIGTERM").catch(() => null);
  await until("the machine has shut down", async () => (await machines(deployment.dataDir)).length === 0, 150_000);
  await stop;
  const console = await readFile(join(await folderOf(deployment.dataDir), "console.log"), "utf8");
  t.match(console, /this is amphora/);
  await until("nothing of it is left on the host", async () => {
    const { links, rules, namespaces } = await hostState();
    const added = links.filter((name) => name.startsWith("am") && !before.links.includes(name));
    return added.length === 0 && rules === before.rules && namespaces.length === before.namespaces.length;
  });
});

t.test("without an image nothing starts, and the settings say how to make one", async (t) => {
  const deployment = await Deployment.make(t);
  const config = join(deployment.dataDir, "settings.yaml");
  const qemu = { images: { x86_64: "/dev/null/image.qcow2" } };
  await writeFile(config, JSON.stringify({ compute: "qemu", qemu }));
  await t.rejects(deployment.start("--config", config), /qemu\.images\.x86_64: there is no \/dev\/null\/image\.qcow2/);
  t.strictSame(
    (await hostState()).links.filter((name) => name.startsWith("am")),
    [],
  );
});

/** The bridge of a subnet. @param gateway of the subnet, which is the bridge's address */
async function bridgeOf(gateway: string): Promise<string> {
  const { stdout } = await execa("ip", ["-o", "-4", "address", "show"]);
  const name = stdout
    .split("\n")
    .find((line) => line.includes(` ${gateway}/`))
    ?.split(/\s+/)[1];
  if (name === undefined) throw new Error(`no bridge has ${gateway}`);
  return name;
}

/** Process ids of the deployment's machines. */
async function machines(dataDir: string): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      return /^qemu-system/.test(command) && command.includes(dataDir) ? [Number(pid)] : [];
    }),
  );
  return found.flat();
}

async function endMachines(dataDir: string): Promise<void> {
  for (const pid of await machines(dataDir)) process.kill(pid, "SIGKILL");
}

async function userOf(pid: number | undefined): Promise<string> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return /^Uid:\s+(\d+)/m.exec(status)?.[1] ?? "";
}

async function folderOf(dataDir: string): Promise<string> {
  const [amphora = ""] = await readdir(join(dataDir, "amphorae"));
  return join(dataDir, "amphorae", amphora);
}
