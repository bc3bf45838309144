/** The tenant's network becomes what the spec says, whatever was there before, and stays as it was when it can't. */
import { execa } from "execa";
import t, { type Test } from "tap";
import type { AmphoraSpecInput } from "../../templates/spec.ts";
import { startAgent, type TestAgent } from "../support/agent.ts";
import { listener, member, pool } from "../support/specs.ts";
import { get, Member, plugTenant, tenantSpec, VIP, VIP6 } from "../support/tenant.ts";

t.test("an interface that is missing: 503, and the same spec works once it is plugged in", async (t) => {
  const agent = await startAgent(t);
  const { status, message } = await agent.refused(tenantSpec(agent, 1));
  t.equal(status, 503);
  t.match(message, /no interface has the address fa:16:3e:00:00:01 \(eth1\)/);
  t.equal((await agent.call("GET", "/v1/spec")).status, 404);
  await plugTenant(t);
  await Member.start(t, 1);
  t.match(await agent.apply(tenantSpec(agent, 1)), { revision: 1, how: "restart" });
  t.equal((await get()).status, 200);
});

t.test("an interface that is plugged in a moment later is waited for", async (t) => {
  const agent = await startAgent(t);
  const [answer] = await Promise.all([agent.apply(tenantSpec(agent, 1)), plugTenant(t)]);
  t.match(answer, { revision: 1, how: "restart" });
});

t.test("members see the amphora's own address, not the VIP", async (t) => {
  const { agent, members } = await serving(t);
  t.strictSame(await addresses(agent), ["10.77.0.10/24", "10.77.0.5/32", "fd77::10/64", "fd77::5/128"]);
  await get();
  await get();
  t.equal(members[0]?.lastClient, "10.77.0.10");
  t.equal(members[1]?.lastClient, "fd77::10");
});

t.test("a VIP moves to another address, and nobody answers at the old one", async (t) => {
  const { agent } = await serving(t);
  await agent.apply(tenantSpec(agent, 2, { vips: ["10.77.0.6", "fd77::6"] }));
  t.strictSame(await addresses(agent), ["10.77.0.10/24", "10.77.0.6/32", "fd77::10/64", "fd77::6/128"]);
  for (const vip of ["10.77.0.6", "fd77::6"]) t.equal((await get(vip)).status, 200);
  await execa("ip", ["neigh", "flush", "all"]);
  for (const vip of [VIP, VIP6]) await t.rejects(get(vip), { code: "EHOSTUNREACH" });
});

t.test("one that stands by gives the VIPs up, and takes them again", async (t) => {
  const { agent } = await serving(t);
  await agent.apply({ ...dualSpec(agent, 2), standby: true });
  t.strictSame(await addresses(agent), ["10.77.0.10/24", "fd77::10/64"]);
  for (const vip of [VIP, VIP6]) await t.rejects(get(vip));
  await agent.apply(dualSpec(agent, 3));
  for (const vip of [VIP, VIP6]) t.equal((await get(vip)).status, 200);
});

t.test("a neighbour that knows another one as the holder of the VIPs learns better from the same spec", async (t) => {
  const { agent } = await serving(t);
  for (const vip of [VIP, VIP6]) {
    const wrong = ["lladdr", "fa:16:3e:00:00:99", "dev", "tenant0", "nud", "reachable"];
    await execa("ip", ["neigh", "replace", vip, ...wrong]);
    await t.rejects(get(vip));
  }
  t.match(await agent.apply(dualSpec(agent, 1)), { how: "none" });
  for (const vip of [VIP, VIP6]) t.equal((await get(vip)).status, 200);
});

t.test("all addresses change at once, and the routes stay", async (t) => {
  const { agent } = await serving(t);
  const moved = interfaces(["10.77.0.11/24", "fd77::11/64"]);
  await agent.apply(tenantSpec(agent, 2, { interfaces: moved, vips: ["10.77.0.6"] }));
  t.strictSame(await addresses(agent), ["10.77.0.11/24", "10.77.0.6/32", "fd77::11/64"]);
  t.strictSame(await routes(agent), ["default via 10.77.0.1"]);
});

t.test("of two addresses of one subnet either may go", async (t) => {
  const { agent } = await serving(t);
  const both = interfaces(["10.77.0.10/24", "10.77.0.11/24"]);
  await agent.apply(tenantSpec(agent, 2, { interfaces: both, vips: [VIP] }));
  await agent.apply(tenantSpec(agent, 3, { interfaces: interfaces(["10.77.0.11/24"]), vips: [VIP] }));
  t.strictSame(await addresses(agent), ["10.77.0.11/24", "10.77.0.5/32"]);
});

t.test("what was changed by hand is put right by the same spec, and HAProxy left alone", async (t) => {
  const { agent } = await serving(t);
  const [right, ways] = [await addresses(agent), await routes(agent)];
  await inside(agent, "address del 10.77.0.5/32 dev eth1");
  await inside(agent, "address add 10.77.0.99/24 dev eth1");
  await inside(agent, "route del default via 10.77.0.1");
  await inside(agent, "link set eth1 mtu 1400");
  t.match(await agent.apply(dualSpec(agent, 1)), { how: "none" });
  t.strictSame(await addresses(agent), right);
  t.strictSame(await routes(agent), ways);
  t.match((await inside(agent, "link show eth1")).stdout, "mtu 1500");
  t.equal((await get()).status, 200);
});

t.test("a second interface has its own addresses and routes", async (t) => {
  const { agent } = await serving(t);
  const second = {
    ...(await plugAnother(t, 1)),
    mtu: 1450,
    routes: [{ destination: "192.0.2.7/24", via: "10.78.0.1" }],
  };
  const both = [...interfaces(["10.77.0.10/24", "fd77::10/64"]), second];
  t.match(await agent.apply(dualSpec(agent, 2, { interfaces: both })), { how: "none" });
  t.strictSame(await addresses(agent, "eth2"), ["10.78.0.10/24"]);
  t.match((await inside(agent, "link show eth2")).stdout, "mtu 1450");
  t.match((await inside(agent, "route show dev eth2 proto static")).stdout, "192.0.2.0/24 via 10.78.0.1");
});

t.test("interfaces exchange their names, and one takes the name of one that is there still", async (t) => {
  const { agent } = await serving(t);
  const first = interfaces(["10.77.0.10/24", "fd77::10/64"]);
  const [second, third] = [await plugAnother(t, 1), await plugAnother(t, 2)];
  const push = (revision: number, ...more: (typeof second)[]) =>
    agent.apply(dualSpec(agent, revision, { interfaces: [...first, ...more] }));
  await push(2, second, third);
  await push(3, { ...second, name: third.name }, { ...third, name: second.name });
  t.strictSame(await addresses(agent, third.name), second.addresses);
  t.strictSame(await addresses(agent, second.name), third.addresses);
  await push(4, { ...third, name: third.name });
  t.strictSame(await addresses(agent, third.name), third.addresses);
  t.equal((await get()).status, 200);
});

t.test("a network that the kernel refuses: everything is as it was", async (t) => {
  const { agent } = await serving(t);
  const [right, ways, config] = [await addresses(agent), await routes(agent), await agent.configFile()];
  const unreachable = [{ destination: "192.0.2.0/24", via: "198.51.100.1" }];
  const next = tenantSpec(agent, 2, {
    interfaces: interfaces(["10.77.0.11/24", "fd77::11/64"], unreachable),
    vips: ["10.77.0.6"],
    listeners: [listener(1), listener(2)],
  });
  const { status, message } = await agent.refused(next);
  t.equal(status, 503);
  t.match(message, /invalid gateway/);
  t.strictSame(await addresses(agent), right);
  t.strictSame(await routes(agent), ways);
  t.equal(await agent.configFile(), config);
  for (const vip of [VIP, VIP6]) t.equal((await get(vip)).status, 200);
});

/** An agent with one member in each family. */
async function serving(t: Test): Promise<{ agent: TestAgent; members: Member[] }> {
  const agent = await startAgent(t);
  await plugTenant(t);
  const members = [await Member.start(t, 1), await Member.start(t, 2, "fd77::22")];
  await agent.apply(dualSpec(agent, 1));
  return { agent, members };
}

function dualSpec(agent: TestAgent, revision: number, changes: Partial<AmphoraSpecInput> = {}): AmphoraSpecInput {
  const pools = [pool(1, [member(1), member(2, { address: "fd77::22" })])];
  return tenantSpec(agent, revision, { pools, ...changes });
}

function interfaces(own: string[], more: { destination: string; via: string }[] = []) {
  const routes = [{ destination: "0.0.0.0/0", via: "10.77.0.1" }, ...more];
  return [{ name: "eth1", mac: "fa:16:3e:00:00:01", addresses: own, routes }];
}

/** One more link that waits for the agent. @returns the interface that it is to be, in a subnet of its own */
async function plugAnother(t: Test, number: number) {
  const mac = `fa:16:3e:00:00:0${number + 1}`;
  t.teardown(() => execa("ip", ["link", "delete", `tenant${number}`], { reject: false }));
  await execa("ip", `link add tenant${number} type veth peer name free${number} address ${mac}`.split(" "));
  return { name: `eth${number + 1}`, mac, addresses: [`10.${77 + number}.0.10/24`], routes: [] };
}

/** One `ip` command in the tenant's namespace. */
function inside(agent: TestAgent, command: string) {
  return execa("ip", ["-n", agent.namespace, ...command.split(" ")]);
}

async function addresses(agent: TestAgent, link = "eth1"): Promise<string[]> {
  const { stdout } = await inside(agent, `-o address show dev ${link} scope global`);
  return [...stdout.matchAll(/inet6? (\S+)/g)].map((match) => match[1] ?? "").sort();
}

async function routes(agent: TestAgent): Promise<string[]> {
  const { stdout } = await inside(agent, "route show dev eth1 proto static");
  return stdout.split("\n").map((line) => line.trim());
}
