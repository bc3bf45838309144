/** Connections of listeners that HAProxy serves: the agent's API and the command on the instance, without IPVS. */
import { join } from "node:path";
import { execa } from "execa";
import t, { type Test } from "tap";
import { agentInfo, connection, connectionsEnd } from "../../agent/protocol.ts";
import { AGENT_MAIN, eventually, productEnv, startAgent, type TestAgent } from "../support/agent.ts";
import { Flow, TellingMember } from "../support/flows.ts";
import { idOf, listener, member, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec, VIP, VIP6 } from "../support/tenant.ts";

async function serving(t: Test, settings: Record<string, unknown> = {}): Promise<TestAgent> {
  await plugTenant(t);
  const agent = await startAgent(t, settings);
  await TellingMember.start(t, 1);
  await agent.apply(
    tenantSpec(agent, 1, {
      listeners: [listener(1, { protocol: "TCP" })],
      pools: [pool(1, [member(1)], { protocol: "TCP" })],
    }),
  );
  return agent;
}

async function ask(agent: TestAgent, query: string) {
  const { status, headers, text } = await agent.call("GET", `/v1/connections?${query}`);
  if (status !== 200) throw new Error(`${status} ${text}`);
  const lines = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const { end } = connectionsEnd.parse(lines.pop());
  return { type: headers["content-type"], end, found: lines.map((line) => connection.parse(line)) };
}

t.test("sessions of HAProxy's are found by every field, through reloads as well", async (t) => {
  const agent = await serving(t);
  const four = await Flow.open(t, VIP, 80);
  const six = await Flow.open(t, VIP6, 80);
  const seen = await four.ask();
  await six.ask();
  const { type, end, found } = await ask(agent, `listener=${idOf("listener")}`);
  t.equal(type, "application/x-ndjson");
  t.strictSame(end, { next: null, missing: [] });
  t.strictSame(
    found.map(({ client_src_port }) => Number(client_src_port)).sort(),
    [four.localPort, six.localPort].sort(),
  );
  const [one] = (await ask(agent, `forward_src_ip=${seen.address}&forward_src_port=${seen.port}`)).found;
  t.match(one, {
    amphora_id: agent.id,
    listener_id: idOf("listener"),
    pool_id: idOf("pool"),
    member_id: idOf("member"),
    status: "ESTABLISHED",
    client_src_ip: "10.77.0.1",
    client_src_port: String(four.localPort),
    client_dst_ip: VIP,
    client_dst_port: "80",
    forward_dst_ip: "10.77.0.21",
    forward_dst_port: "8080",
    bytes_in: 4,
  });
  t.equal((await ask(agent, "client_src_ip=fd77::/64")).found.length, 1);
  await agent.apply(
    tenantSpec(agent, 2, {
      listeners: [listener(1, { protocol: "TCP", timeout_client_data: 60_000 })],
      pools: [pool(1, [member(1)], { protocol: "TCP" })],
    }),
  );
  await four.ask();
  t.equal((await ask(agent, "")).found.length, 2, "those of the old worker, too");
  const page = await ask(agent, "limit=1");
  t.equal(page.found.length, 1);
  t.equal((await ask(agent, `limit=1&cursor=${page.end.next}`)).found.length, 1);
});

t.test("the command shows them without an agent, and takes a closed pipe for the end", async (t) => {
  const agent = await serving(t);
  const flow = await Flow.open(t, VIP, 80);
  await flow.ask();
  await agent.end("SIGTERM");
  const command = (...args: string[]) =>
    execa(process.execPath, [AGENT_MAIN, "connections", "--config", join(agent.folder, "agent.json"), ...args], {
      env: productEnv(),
      extendEnv: false,
      reject: false,
      timeout: 30_000,
    });
  const table = await command();
  t.equal(table.exitCode, 0, table.stderr);
  t.match(table.stdout.split("\n")[0], /^1 connections, 20/);
  t.match(table.stdout, new RegExp(`10\\.77\\.0\\.1:${flow.localPort} +tcp 10\\.77\\.0\\.5:80 .*ESTABLISHED`));
  const json = await command("--json");
  t.equal(connection.parse(JSON.parse(json.stdout)).client_src_port, String(flow.localPort));
  const unknown = await command("--listener", idOf("listener", 9));
  t.equal(unknown.exitCode, 2);
  t.match(unknown.stderr, new RegExp(`there are\n  ${idOf("listener")}  TCP 80`));
  const following = command("--follow", "--interval", "1");
  let output = "";
  following.stdout?.on("data", (text: Buffer) => {
    output += text.toString();
  });
  await eventually("it refreshes", async () => (output.match(/^1 connections/gm)?.length ?? 0) >= 2);
  following.stdout?.destroy();
  t.equal((await following).exitCode, 0);
});

t.test("on a terminal the table takes a screen of its own, and leaves none of it behind", async (t) => {
  const agent = await serving(t);
  const flow = await Flow.open(t, VIP, 80);
  await flow.ask();
  const words = [process.execPath, AGENT_MAIN, "connections", "--config", join(agent.folder, "agent.json")];
  for (const [key, name] of [
    ["q", "q"],
    ["\u0003", "Ctrl-C"],
  ] as const) {
    // script(1) gives it a terminal, whose size is not known
    const watching = execa(
      "script",
      ["-qec", [...words, "--follow", "--top", "--interval", "1"].join(" "), "/dev/null"],
      {
        env: { ...productEnv(), TERM: "xterm" },
        extendEnv: false,
        reject: false,
        timeout: 30_000,
      },
    );
    let screen = "";
    watching.stdout?.on("data", (text: Buffer) => {
      screen += text.toString();
    });
    await eventually("it refreshes", async () => (screen.match(/1 connections/g)?.length ?? 0) >= 2);
    watching.stdin?.write(key);
    t.equal((await watching).exitCode, 0, name);
    t.ok(screen.startsWith("\u001b[?1049h\u001b[?25l"), name);
    t.match(screen, /CLIENT +VIP/, name);
    t.ok(screen.trimEnd().endsWith("\u001b[?25h\u001b[?1049l"), name);
  }
});

t.test("a listener that needs IPVS is refused where there is none, and what runs goes on", async (t) => {
  // whatever this kernel has: an instance without keepalived can't serve it either
  const agent = await serving(t, { keepalived: "/nowhere/keepalived" });
  const info = agentInfo.parse(JSON.parse((await agent.call("GET", "/v1/info")).text));
  t.equal(info.capabilities.ip_vs, false);
  const { status, problems } = await agent.refused(
    tenantSpec(agent, 2, {
      listeners: [listener(1, { protocol: "TCP" }), listener(2, { protocol: "UDP", default_pool_id: null })],
      pools: [pool(1, [member(1)], { protocol: "TCP" })],
    }),
  );
  t.equal(status, 422);
  t.equal(problems.length, 1);
  t.equal(problems[0]?.path, "listeners[1].protocol");
  t.match(
    problems[0]?.message,
    /^UDP can't be served here: (the kernel of this instance has no ip_vs|this instance has no keepalived)$/,
  );
  const flow = await Flow.open(t, VIP, 80);
  t.equal((await flow.ask()).member, 1);
});
