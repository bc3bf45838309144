/** The agent's API beside the spec: what it tells of itself, of what is rendered, and of what it does not know. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import t from "tap";
import { agentFault, agentInfo } from "../../agent/protocol.ts";
import packageJson from "../../package.json" with { type: "json" };
import { parseSpec } from "../../templates/spec.ts";
import { AGENT_MAIN, productEnv, startAgent, TestAgent } from "../support/agent.ts";
import { idOf } from "../support/specs.ts";
import { get, Member, plugTenant, tenantSpec } from "../support/tenant.ts";

const agent = await startAgent(t);

t.test("before the first spec there is none", async (t) => {
  const { status, text } = await agent.call("GET", "/v1/spec");
  t.equal(status, 404);
  t.match(agentFault.parse(JSON.parse(text)).error, { code: 404, message: /no spec/ });
  t.strictSame(JSON.parse((await agent.call("GET", "/v1/files")).text), { files: [] });
  t.strictSame(await agent.health(), { revision: 0, listeners: {}, pools: {} });
  t.strictSame(await agent.stats(), { listeners: {} });
  t.equal(agentInfo.parse(JSON.parse((await agent.call("GET", "/v1/info")).text)).revision, 0);
});

t.test("with a spec", async (t) => {
  await plugTenant(t);
  await Member.start(t, 1);
  await Member.start(t, 2);
  await agent.apply(tenantSpec(agent, 3));
  await get();

  t.test("GET /v1/spec: the spec that runs, with every default", async (t) => {
    const { status, headers, text } = await agent.call("GET", "/v1/spec");
    t.equal(status, 200);
    t.equal(headers["content-type"], "application/json");
    t.strictSame(JSON.parse(text), parseSpec(tenantSpec(agent, 3)));
  });

  t.test("GET /v1/files: the files as they stand on disk", async (t) => {
    const { text } = await agent.call("GET", "/v1/files");
    const path = join(agent.folder, "etc/haproxy/haproxy.cfg");
    t.strictSame(JSON.parse(text), { files: [{ path, content: await agent.configFile() }] });
  });

  t.test("GET /v1/info: who it is, what runs, on what", async (t) => {
    const info = agentInfo.parse(JSON.parse((await agent.call("GET", "/v1/info")).text));
    const { stdout } = await execa("haproxy", ["-v"]);
    t.match(info, {
      amphora_id: agent.id,
      revision: 3,
      versions: { agent: packageJson.version, node: process.versions.node },
    });
    t.match(stdout, `version ${info.versions.haproxy}`);
    t.ok(info.host.memory.available > 0 && info.host.memory.available <= info.host.memory.total);
    t.ok(info.host.cpus >= 1 && info.host.uptime > 0);
    t.equal(info.host.load.length, 3);
  });

  t.test("GET /metrics: Prometheus text, with what was counted", async (t) => {
    const { headers, text } = await agent.call("GET", "/metrics");
    t.match(headers["content-type"], /^text\/plain/);
    const metrics = parseMetrics(text);
    const listener = `listener="${idOf("listener")}"`;
    t.equal(metrics.get("amphora_spec_revision"), 3);
    t.equal(metrics.get(`amphora_listener_up{${listener}}`), 1);
    t.equal(metrics.get(`amphora_member_up{pool="${idOf("pool")}",member="${idOf("member", 2)}"}`), 1);
    await agent.stats();
    const { total_connections, bytes_out } = (await agent.stats()).listeners[idOf("listener")] ?? {};
    const now = parseMetrics((await agent.call("GET", "/metrics")).text);
    t.equal(now.get(`amphora_listener_total_connections{${listener}}`), total_connections);
    t.equal(now.get(`amphora_listener_bytes_out{${listener}}`), bytes_out);
    t.ok((metrics.get("amphora_agent_process_resident_memory_bytes") ?? 0) > 0);
  });
});

t.test("a path that is not there: 404 that names it", async (t) => {
  for (const path of ["/", "/v1", "/v1/", "/v1/spec/", "/v2/spec", "/v1/../v1/spec", "/__proto__", "/v1/info%00"]) {
    const { status, text } = await agent.call("GET", path);
    t.equal(status, 404, path);
    t.match(agentFault.parse(JSON.parse(text)).error.message, "there is no /");
  }
});

t.test("a query says nothing", async (t) => {
  t.equal((await agent.call("GET", "/v1/info?x=y")).status, 200);
});

t.test("a method that is not for it: 405 that says which are", async (t) => {
  for (const [method, path, allowed] of [
    ["POST", "/v1/spec", "GET, PUT"],
    ["DELETE", "/v1/spec", "GET, PUT"],
    ["PUT", "/v1/info", "GET"],
    ["GET", "/v1/certificate", "PUT"],
  ] as const) {
    const { status, headers, text } = await agent.call(method, path);
    t.equal(status, 405, `${method} ${path}`);
    t.equal(headers.allow, allowed);
    t.match(agentFault.parse(JSON.parse(text)).error.message, `${path} does not take ${method}, but ${allowed}`);
  }
});

t.test("settings that can't be used: one line that says why, and exit code 1", async (t) => {
  const run = (file: string) =>
    execa(process.execPath, [AGENT_MAIN, "run", "--config", file], {
      env: productEnv(),
      extendEnv: false,
      reject: false,
      timeout: 10_000,
    });
  const other = await TestAgent.make(t, { run_dir: "run" });
  const settings = await run(join(other.folder, "agent.json"));
  t.equal(settings.exitCode, 1);
  t.match(settings.stderr, /^amphora-agent: \S+\/agent\.json: run_dir: [^\n]+$/);

  const without = await TestAgent.make(t);
  await writeFile(join(without.folder, "heartbeat.key"), "short");
  const key = await run(join(without.folder, "agent.json"));
  t.equal(key.exitCode, 1);
  t.match(key.stderr, /^amphora-agent: heartbeat_key_file: [^\n]+ fewer than 32 bytes$/);
});

/** name with labels -> value. @throws on a line that is none of the Prometheus text format */
function parseMetrics(text: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const line of text.split("\n").filter((each) => each !== "")) {
    if (/^# (HELP|TYPE) [a-z_0-9]+ \S/.test(line)) continue;
    const [, name = "", value] = /^([a-z_][a-z0-9_]*(?:\{(?:[a-z_]+="[^"\\]*",?)*\})?) (\S+)$/.exec(line) ?? [];
    if (value === undefined || Number.isNaN(Number(value))) throw new Error(`no metric: ${line}`);
    found.set(name, Number(value));
  }
  return found;
}
