/** The operator's view into connections: every open socket is there, with every filter, and those that have ended. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { execa } from "execa";
import {
  CONNECTION_FILTERS,
  type Connection,
  type ConnectionField,
  type ConnectionsEnd,
  connection,
  connectionsEnd,
} from "../../../../agent/protocol.ts";
import { AGENT_MAIN, eventually } from "../../../support/agent.ts";
import { askUdp, Flow, TellingMember } from "../../../support/flows.ts";
import { idOf, listener, member, pool } from "../../../support/specs.ts";
import { VIP, VIP6 } from "../../../support/tenant.ts";
import type { Inside } from "../../../support/vm/inside.ts";
import { forward, forwardPool, type Lab, sixMembers } from "./lab.ts";

const FORWARD = idOf("listener");
const UDP = idOf("listener", 2);
const SERVED = idOf("listener", 3);

export async function connections(vm: Inside, lab: Lab): Promise<void> {
  const { check, note } = vm;
  const { agent } = lab;
  const ask = async (query: string): Promise<{ found: Connection[] } & ConnectionsEnd> => {
    const { status, text } = await agent.call("GET", `/v1/connections?${query}`);
    if (status !== 200) throw new Error(`${status} ${text}`);
    const lines = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    return { ...connectionsEnd.parse(lines.pop()), found: lines.map((line) => connection.parse(line)) };
  };
  const ports = (found: readonly Connection[]) => found.map(({ client_src_port }) => Number(client_src_port)).sort();
  const ssh = await TellingMember.start(vm, 1, "10.77.0.21", 22);
  await TellingMember.start(vm, 4, "10.77.0.24", 8081);
  const spec = {
    lvs_udp_timeout: 3,
    listeners: [
      forward({ protocol_port: 22 }),
      listener(2, { protocol: "UDP", protocol_port: 53, default_pool_id: idOf("pool", 2) }),
      listener(3, { protocol: "TCP", protocol_port: 8000, default_pool_id: idOf("pool", 3) }),
    ],
    pools: [
      forwardPool([member(1, { protocol_port: 22 }), sixMembers[0] ?? member(11)]),
      pool(2, [member(21, { address: "10.77.0.22" })], { protocol: "UDP" }),
      pool(3, [member(4, { protocol_port: 8081 })], { protocol: "TCP" }),
    ],
  };

  await check("the reference's example, field by field, from a real connection", async () => {
    await lab.apply(spec);
    const began = Date.now();
    const flow = await Flow.open(vm, VIP, 22, { localPort: 8128 });
    await flow.ask();
    const { found, end } = await ask(`listener=${FORWARD}&client_src_port=8128`);
    assert.deepEqual(end, { next: null, missing: [] });
    assert.equal(found.length, 1);
    const [one] = found;
    if (one === undefined) return;
    const { id, start_time, active_time, bytes_in, bytes_out, packets_in, packets_out, ...rest } = one;
    assert.deepEqual(rest, {
      amphora_id: agent.id,
      listener_id: FORWARD,
      pool_id: idOf("pool"),
      member_id: idOf("member"),
      ip_version: "ipv4",
      protocol: "tcp",
      status: "ESTABLISHED",
      client_src_ip: "10.77.0.1",
      client_src_port: "8128",
      client_dst_ip: VIP,
      client_dst_port: "22",
      forward_src_ip: VIP,
      forward_src_port: "8128",
      forward_dst_ip: "10.77.0.21",
      forward_dst_port: "22",
      end_time: null,
    });
    assert.match(id, /^4-\d{10}$/);
    for (const time of [start_time, active_time]) {
      assert.match(time ?? "", /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/);
      assert.ok(Math.abs(Date.parse(`${time}Z`) - began) < 10_000, `${time} is about now`);
    }
    assert.ok(bytes_in > 100 && bytes_out > 100 && (packets_in ?? 0) >= 3 && (packets_out ?? 0) >= 2);
    note(`GET /v1/connections: ${JSON.stringify(one)}`);
    flow.close();
  });

  const flows: Flow[] = [];
  await check("the connections listed are those that are open, in both families", async () => {
    for (let i = 0; i < 20; i++) flows.push(await Flow.open(vm, VIP, 22));
    for (let i = 0; i < 5; i++) flows.push(await Flow.open(vm, VIP6, 22));
    const { found } = await ask(`listener=${FORWARD}`);
    const established = found.filter(({ status }) => status === "ESTABLISHED");
    assert.deepEqual(ports(established), flows.map(({ localPort }) => localPort).sort());
    assert.equal(established.filter(({ ip_version }) => ip_version === "ipv6").length, 5);
    assert.ok(ssh.connections >= 20);
  });

  await check("every filter: values, prefixes and ranges, and all at once", async () => {
    const { found } = await ask(`listener=${FORWARD}`);
    const [four, six] = [
      found.find(({ ip_version }) => ip_version === "ipv4"),
      found.find(({ ip_version }) => ip_version === "ipv6"),
    ];
    if (four === undefined || six === undefined) throw new Error("both families are there");
    const narrowed = async (query: string) =>
      (await ask(`listener=${FORWARD}&${query}`)).found.map(({ id }) => id).sort();
    const expected = (matches: (each: Connection) => boolean) =>
      found
        .filter(matches)
        .map(({ id }) => id)
        .sort();
    for (const one of [four, six]) {
      const fields: readonly ConnectionField[] =
        one === four ? CONNECTION_FILTERS : CONNECTION_FILTERS.filter((field) => field.endsWith("_ip"));
      for (const field of fields) {
        const value = one[field] ?? "";
        assert.deepEqual(
          await narrowed(`${field}=${value}`),
          expected((each) => each[field] === value),
          `${field}=${value}`,
        );
      }
      const all = CONNECTION_FILTERS.map((field) => `${field}=${one[field]}`).join("&");
      assert.deepEqual(await narrowed(all), [one.id]);
    }
    assert.deepEqual(
      await narrowed("client_src_ip=10.77.0.0/24"),
      expected(({ ip_version }) => ip_version === "ipv4"),
    );
    assert.deepEqual(
      await narrowed("client_src_ip=fd77::/64"),
      expected(({ ip_version }) => ip_version === "ipv6"),
    );
    const port = Number(four.client_src_port);
    const within = expected(
      ({ client_src_port }) => Number(client_src_port) >= port && Number(client_src_port) <= port + 9,
    );
    assert.deepEqual(await narrowed(`client_src_port=${port}-${port + 9}`), within);
    assert.deepEqual(await narrowed("client_src_port=1"), []);
  });

  await check("from what a member saw to the client: by forward_src_ip and forward_src_port", async () => {
    const seen = await flows[3]?.ask();
    const { found } = await ask(`forward_src_ip=${seen?.address}&forward_src_port=${seen?.port}`);
    assert.deepEqual(ports(found), [flows[3]?.localPort]);
  });

  await check("pages hold every connection once, while others come and go", async () => {
    const whole = (await ask(`listener=${FORWARD}`)).found.map(({ id }) => id);
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const page: { found: Connection[] } & ConnectionsEnd = await ask(
        `listener=${FORWARD}&limit=7${cursor && `&cursor=${cursor}`}`,
      );
      assert.ok(page.found.length <= 7);
      seen.push(...page.found.map(({ id }) => id));
      cursor = page.end.next;
      (await Flow.open(vm, VIP, 22)).close();
    }
    assert.equal(new Set(seen).size, seen.length);
    assert.deepEqual(
      whole.filter((id) => !seen.includes(id)),
      [],
    );
  });

  await check("UDP flows, and HAProxy's sessions, in the same shape", async () => {
    const udp: Connection[] = [];
    // a flow is forgotten after 3 s: on a slow machine before it is read
    await eventually("the flow is listed", async () => {
      await askUdp(VIP, 53, { localPort: 7053 });
      udp.splice(0, udp.length, ...(await ask(`listener=${UDP}`)).found);
      return udp.length > 0;
    });
    const [flow] = udp;
    assert.deepEqual(
      [flow?.protocol, flow?.status, flow?.client_src_port, flow?.member_id],
      ["udp", "REPLIED", "7053", idOf("member", 21)],
    );
    const served = await Flow.open(vm, VIP, 8000);
    await served.ask();
    const [session] = (await ask(`listener=${SERVED}`)).found;
    assert.deepEqual(
      [
        session?.protocol,
        session?.status,
        session?.client_dst_port,
        session?.forward_dst_ip,
        session?.member_id,
        session?.pool_id,
      ],
      ["tcp", "ESTABLISHED", "8000", "10.77.0.24", idOf("member", 4), idOf("pool", 3)],
    );
    assert.deepEqual([session?.bytes_in, session?.client_src_port], [4, String(served.localPort)]);
    served.close();
  });

  await check("what has ended is remembered, with its end and all that went through", async () => {
    await eventually("the flow is over", async () => (await ask(`listener=${UDP}`)).found.length === 0, 20_000);
    const { found } = await ask(`listener=${UDP}&include_closed=true&client_src_port=7053`);
    assert.deepEqual(
      [...new Set(found.map(({ status, forward_dst_ip }) => `${status} ${forward_dst_ip}`))],
      ["CLOSED 10.77.0.22"],
    );
    assert.match(found[0]?.end_time ?? "", /^\d{4}-/);
    assert.ok((found[0]?.packets_in ?? 0) >= 1);
  });

  await check("what can't be asked is refused with the reason", async () => {
    const refused = async (query: string) => {
      const { status, text } = await agent.call("GET", `/v1/connections?${query}`);
      return `${status} ${JSON.parse(text).error.message}`;
    };
    assert.match(await refused("client_src_ip=10.77.0.0/33"), /^400 client_src_ip must be an address, or a prefix/);
    assert.match(await refused("order=newest"), /^400 order is unknown: there are listener, client_src_ip/);
    assert.match(await refused(`listener=${idOf("listener", 9)}`), /^404 there is no listener 3/);
  });

  const command = (...args: string[]) =>
    execa(process.execPath, [AGENT_MAIN, "connections", "--config", join(agent.folder, "agent.json"), ...args], {
      reject: false,
      // it starts Node, which takes its time without KVM
      timeout: 150_000,
    });

  await check("on the instance: a table, with half-open connections marked", async () => {
    await lab.apply({
      ...spec,
      pools: [
        forwardPool([member(1, { protocol_port: 22 }), member(5, { address: "10.77.0.99" })]),
        ...spec.pools.slice(1),
      ],
    });
    // IPVS forgets one that gets no answer after 60 s: the command may take longer to start
    const knock = () => void [1, 2].map(() => Flow.open(vm, VIP, 22, {}, 30_000).catch(() => null));
    knock();
    const knocking = setInterval(knock, 10_000);
    vm.teardown(() => clearInterval(knocking));
    await eventually("one is half open", async () =>
      (await ask(`listener=${FORWARD}`)).found.some(({ status }) => status === "SYN_SENT"),
    );
    const table = await command("--listener", FORWARD, "--client-src-ip", "10.77.0.0/24");
    assert.equal(table.exitCode, 0, table.stderr);
    const lines = table.stdout.split("\n");
    assert.match(lines[0] ?? "", /^\d+ connections, 20\d\d-.* UTC$/);
    assert.match(lines[1] ?? "", /^ +CLIENT +VIP +SOURCE +MEMBER +STATE +AGE +IDLE +IN +OUT$/);
    assert.ok(
      lines.some((line) => /^! +10\.77\.0\.1:\d+ +tcp 10\.77\.0\.5:22 .* 10\.77\.0\.99:8080 +SYN_SENT/.test(line)),
      table.stdout,
    );
    note(`amphora-agent connections:\n${lines.slice(0, 5).join("\n")}`);
    clearInterval(knocking);
  });

  await check("--json --follow shows what begins and what ends, and quits cleanly", async () => {
    await lab.apply(spec);
    const early = await Flow.open(vm, VIP, 22, { localPort: 7021 });
    const following = command("--json", "--follow", "--interval", "1", "--listener", FORWARD);
    const lines: string[] = [];
    following.stdout?.on("data", (text: Buffer) => lines.push(...text.toString().split("\n")));
    await eventually("it shows what is open", async () => lines.some((line) => line.includes('"7021"')), 60_000);
    const late = await Flow.open(vm, VIP, 22, { localPort: 7022 });
    await eventually("it shows a new one", async () => lines.some((line) => line.includes('"7022"')), 15_000);
    late.reset();
    early.close();
    following.kill("SIGINT");
    assert.equal((await following).exitCode, 0);
  });
  for (const flow of flows) flow.close();
}
