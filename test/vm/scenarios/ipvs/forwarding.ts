/** Connections of every kind reach members, which see the VIP; the kernel knows both sides of each. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { execa } from "execa";
import { askUdp, Flow } from "../../../support/flows.ts";
import { idOf, listener, member, pool } from "../../../support/specs.ts";
import { get, Member, VIP, VIP6 } from "../../../support/tenant.ts";
import { type Inside, until } from "../../../support/vm/inside.ts";
import { forward, forwardPool, type Lab, sixMembers } from "./lab.ts";

export async function forwarding(vm: Inside, lab: Lab): Promise<void> {
  const { check } = vm;
  const web = await Member.start(vm, 4);
  const everything = {
    listeners: [
      forward(),
      listener(2, { protocol: "UDP", protocol_port: 80, default_pool_id: idOf("pool", 2) }),
      listener(3, { protocol: "SCTP", protocol_port: 80, default_pool_id: idOf("pool", 3) }),
      listener(4, { protocol: "HTTP", protocol_port: 8000, default_pool_id: idOf("pool", 4) }),
    ],
    pools: [
      forwardPool([member(1), ...sixMembers.slice(0, 1)]),
      pool(2, [member(21, { address: "10.77.0.22" }), member(22, { address: "fd77::22" })], { protocol: "UDP" }),
      pool(3, [member(31, { address: "10.77.0.23" })], { protocol: "SCTP" }),
      pool(4, [member(4)]),
    ],
  };

  await check("FORWARD_TCP, UDP, SCTP and HTTP listeners come up side by side, three of them on one port", async () => {
    await lab.apply(everything);
    const { listeners } = await lab.agent.health();
    assert.deepEqual(listeners, Object.fromEntries([1, 2, 3, 4].map((n) => [idOf("listener", n), "OPEN"])));
    assert.equal((await get(VIP, 8000)).text, "member 4");
    assert.equal(web.requests, 1);
    assert.deepEqual(
      (await lab.table()).filter(({ vip }) => vip === VIP).map(({ transport, port }) => `${transport} ${port}`),
      ["TCP 80", "UDP 80", "SCTP 80"],
    );
  });
  for (const [family, vip] of [
    ["IPv4", VIP],
    ["IPv6", VIP6],
  ] as const) {
    await check(`a member sees a TCP connection from the VIP, with the client's port (${family})`, async () => {
      const flow = await Flow.open(vm, vip, 80);
      assert.deepEqual(await flow.ask(), { member: 1, address: vip, port: flow.localPort });
      flow.close();
    });
    await check(`a member sees a datagram from the VIP (${family})`, async () => {
      assert.deepEqual(await askUdp(vip, 80, { localPort: 7777 }), { member: 2, address: vip, port: 7777 });
    });
  }
  await check("one entry of the kernel's carries both sides, when it began, and what went through", async () => {
    const flow = await Flow.open(vm, VIP, 80);
    await flow.ask();
    const dump = await lab.inside("conntrack", "-L", "-p", "tcp", "-o", "ktimestamp");
    const entry = dump.split("\n").find((line) => line.includes(`sport=${flow.localPort} `)) ?? "";
    assert.match(entry, /ESTABLISHED src=10\.77\.0\.1 dst=10\.77\.0\.5 sport=\d+ dport=80 packets=[1-9]/);
    assert.match(entry, /src=10\.77\.0\.21 dst=10\.77\.0\.5 sport=8080 .* bytes=[1-9].* \[start=/);
    flow.close();
  });
  await check("an SCTP association reaches its member", async () => {
    await execa("modprobe", ["sctp"]);
    const echo = execa("socat", ["SCTP-LISTEN:8080,bind=10.77.0.23,fork", "EXEC:cat"], { reject: false });
    vm.teardown(() => echo.kill("SIGKILL"));
    await until("it listens", async () => (await readFile("/proc/net/sctp/eps", "utf8")).includes("10.77.0.23"));
    const asking = execa("socat", ["-", `SCTP:${VIP}:80`], { reject: false });
    vm.teardown(() => asking.kill("SIGKILL"));
    asking.stdin.write("hello\n");
    const [answer] = await once(asking.stdout, "data", { signal: AbortSignal.timeout(10_000) });
    assert.equal(String(answer), "hello\n");
  });
  await check("a member that is not on the VIP's subnet sees the amphora's own address", async () => {
    const vip = "10.99.0.5";
    await execa("ip", ["route", "add", vip, "via", "10.77.0.10"]);
    await lab.apply({ vips: [vip], listeners: [forward()], pools: [forwardPool([member(1)])] });
    const flow = await Flow.open(vm, vip, 80, { localAddress: "10.77.0.1" });
    assert.equal((await flow.ask()).address, "10.77.0.10");
    flow.close();
  });
  await check("the namespace routes nothing else: neither to members nor back", async () => {
    await execa("ip", ["route", "add", "10.77.0.200", "via", "10.77.0.10"]);
    await lab.inside("ip", "neigh", "replace", "10.77.0.200", "lladdr", "02:00:00:00:00:01", "dev", "eth1");
    await askUdp("10.77.0.200", 9, {}, 300);
    // what is dropped on its way leaves no entry
    assert.equal(await lab.inside("conntrack", "-L", "-p", "udp", "-d", "10.77.0.200"), "");
  });
}
