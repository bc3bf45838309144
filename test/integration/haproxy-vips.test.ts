/** VIPs of both families on several subnets, and members on several, each reached from its own interface. */
import { execa } from "execa";
import t, { type Test } from "tap";
import { startAgent } from "../support/agent.ts";
import { call, Upstream } from "../support/http.ts";
import { listener, member, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec, VIP, VIP6 } from "../support/tenant.ts";

const SECOND = { name: "eth2", mac: "fa:16:3e:00:00:02", addresses: ["10.78.0.10/24", "fd78::10/64"] };

t.test("every VIP serves, and members on every subnet are reached from the amphora's address there", async (t) => {
  const agent = await startAgent(t);
  await plugTenant(t);
  await plugSecond(t);
  await Upstream.start(t, "first", "10.77.0.21");
  await Upstream.start(t, "second", "10.78.0.21");
  await Upstream.start(t, "third", "fd78::21");
  const members = [member(1), member(2, { address: "10.78.0.21" }), member(3, { address: "fd78::21" })];
  const spec = tenantSpec(agent, 1, {
    vips: [VIP, VIP6, "10.78.0.5", "fd78::5"],
    listeners: [listener(1, { insert_headers: ["X-Forwarded-For"] })],
    pools: [pool(1, members)],
  });
  await agent.apply({ ...spec, interfaces: [...(spec.interfaces ?? []), SECOND] });

  const { stdout } = await execa("ip", ["-n", agent.namespace, "-br", "address", "show"]);
  const line = (name: string) => stdout.split("\n").find((each) => each.startsWith(`${name}@`)) ?? "";
  t.match(line("eth1"), "10.77.0.5/32");
  t.match(line("eth1"), "fd77::5/128");
  t.match(line("eth2"), "10.78.0.5/32");
  t.match(line("eth2"), "fd78::5/128");

  for (const host of [VIP, VIP6, "10.78.0.5", "fd78::5"]) {
    const seen = [await call({ host }), await call({ host }), await call({ host })].map((reply) => reply.seen);
    t.strictSame(seen.map((each) => each?.member).sort(), ["first", "second", "third"], host);
  }
  const peers = await Promise.all([call(), call(), call()]);
  for (const { seen } of peers) {
    const who = seen?.member ?? "";
    t.equal(seen?.peer, { first: "10.77.0.10", second: "10.78.0.10", third: "fd78::10" }[who], who);
  }
});

async function plugSecond(t: Test): Promise<void> {
  t.teardown(() => execa("ip", ["link", "delete", "tenant1"], { reject: false }));
  const addresses = ["10.78.0.1/24", "10.78.0.21/24", "fd78::1/64", "fd78::21/64"];
  const input = [
    `link add tenant1 type veth peer name free1 address ${SECOND.mac}`,
    ...addresses.map((each) => `address add ${each} dev tenant1${each.includes(":") ? " nodad" : ""}`),
    "link set tenant1 up",
    "",
  ].join("\n");
  await execa("ip", ["-batch", "-"], { input });
}
