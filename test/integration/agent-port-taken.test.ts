/** A listener whose port another process holds is refused, whoever finds out, and what was there before serves on. */
import { type ChildProcess, spawn } from "node:child_process";
import { execa } from "execa";
import t, { type Test } from "tap";
import { showProcesses } from "../../agent/dataplane/haproxy-socket.ts";
import { eventually, productEnv, startAgent, type TestAgent } from "../support/agent.ts";
import { listener } from "../support/specs.ts";
import { get, Member, OpenConnection, plugTenant, serves, tenantSpec, VIP, VIP6 } from "../support/tenant.ts";

const LISTEN = `require("node:net").createServer().listen(+process.argv[1], process.argv[2], () => console.log("there"))`;
/** Bound, yet not listening: the kernel lists it nowhere. */
const BIND = `use Socket; $| = 1; my ($port, $address) = @ARGV; socket(S, PF_INET, SOCK_STREAM, 6) or die;
bind(S, sockaddr_in($port, inet_aton($address))) or die; print "there\\n"; sleep 60`;

for (const address of [VIP, VIP6, "0.0.0.0", "::"]) {
  t.test(`a port that another process listens on, at ${address}, is named before anybody notices`, async (t) => {
    const agent = await serving(t);
    await holdPort(t, agent, [process.execPath, "-e", LISTEN], 82, address);
    const before = await agent.haproxy();
    const load = new Requests();
    const refusal = await agent.refused(tenantSpec(agent, 2, { listeners: [listener(1), listener(2), listener(3)] }));
    t.strictSame(await load.end(), [], "no request failed meanwhile");
    t.equal(refusal.status, 422);
    t.match(refusal.problems[0], { path: "listeners[2].protocol_port", message: /port 82 of / });
    t.strictSame((await agent.haproxy()).worker, before.worker, "the worker is the same");
  });
}

t.test("a listener keeps its port over reloads: HAProxy is no stranger to itself", async (t) => {
  const agent = await serving(t);
  for (const revision of [2, 3]) {
    const next = tenantSpec(agent, revision, { listeners: [listener(1, { connection_limit: revision })] });
    t.equal((await agent.apply(next)).how, "reload");
  }
});

t.test("what only HAProxy finds out is told in its words, and backed out of", async (t) => {
  const agent = await serving(t);
  const holder = await holdPort(t, agent, ["perl", "-e", BIND], 82, VIP);
  const config = await agent.configFile();
  const next = (revision: number, ...numbers: number[]) =>
    tenantSpec(agent, revision, { listeners: numbers.map((number) => listener(number)) });

  const { status, message, problems } = await agent.refused(next(2, 1, 3));
  t.equal(status, 422);
  t.match(message, /cannot bind socket \(Address already in use\) for \[10\.77\.0\.5:82\]/);
  t.equal(problems.length, 1);

  t.equal((await get()).status, 200, "the old revision serves");
  t.match(JSON.parse((await agent.call("GET", "/v1/spec")).text), { revision: 1 });
  t.equal(await agent.configFile(), config, "its file is in place");
  t.equal((await agent.haproxy()).failed, 0, "and HAProxy has it loaded");

  t.match(await agent.apply(next(3, 1, 4)), { revision: 3, how: "reload" }, "a good spec is taken");
  t.equal((await get(VIP, 83)).status, 200);

  holder.kill("SIGKILL");
  await eventually("the port is free", async () => holder.signalCode !== null);
  t.match(await agent.apply(next(4, 1, 3)), { revision: 4, how: "reload" }, "and so is the first, once it can be");
  t.equal((await get(VIP, 82)).status, 200);
});

t.test(
  "an agent that is killed while HAProxy tries for a port: its successor waits for HAProxy to hear again",
  async (t) => {
    const agent = await serving(t);
    const { master } = await agent.haproxy();
    const open = await OpenConnection.open(t);
    await holdPort(t, agent, ["perl", "-e", BIND], 82, VIP);
    const deaf = () =>
      showProcesses(agent.haproxySocket).then(
        () => false,
        () => true,
      );
    const refused = agent.refused(tenantSpec(agent, 2, { listeners: [listener(1), listener(3)] })).catch(() => null);
    await eventually("HAProxy is deaf", deaf);
    // it is for 2 s; an agent may take longer to start
    process.kill(master, "SIGSTOP");
    await agent.end("SIGKILL");
    await refused;
    await agent.start();
    t.ok(await deaf(), "it still is");
    process.kill(master, "SIGCONT");
    await eventually("the agent knows its spec again", async () => (await agent.health()).revision === 1);
    t.equal((await agent.haproxy()).master, master, "the same HAProxy");
    t.match(await open.ask(), /member \d/, "and a connection from before goes on");
    t.equal((await get()).status, 200);
  },
);

t.test("a first spec that HAProxy can't start with leaves nothing behind, and the next one works", async (t) => {
  const agent = await startAgent(t);
  await plugTenant(t);
  await Member.start(t, 1);
  await execa("ip", ["netns", "add", agent.namespace]);
  const holder = await holdPort(t, agent, ["perl", "-e", BIND], 80, "0.0.0.0");
  const { status, message } = await agent.refused(tenantSpec(agent, 1));
  t.equal(status, 422);
  t.match(message, /cannot bind socket/);
  await t.rejects(agent.configFile(), { code: "ENOENT" });
  t.equal((await agent.call("GET", "/v1/spec")).status, 404);
  holder.kill("SIGKILL");
  await eventually("the port is free", async () => holder.signalCode !== null);
  t.match(await agent.apply(tenantSpec(agent, 1)), { revision: 1, how: "restart" });
  t.ok(await serves());
});

/** An agent whose first listener serves. */
async function serving(t: Test): Promise<TestAgent> {
  const agent = await startAgent(t);
  await plugTenant(t);
  await Member.start(t, 1);
  await Member.start(t, 2);
  await agent.apply(tenantSpec(agent, 1));
  return agent;
}

/** Has a process of the tenant's namespace hold a port. It ends with the test. */
async function holdPort(
  t: Test,
  agent: TestAgent,
  command: readonly string[],
  port: number,
  address: string,
): Promise<ChildProcess> {
  const inside = [`--net=/run/netns/${agent.namespace}`, "--", ...command, String(port), address];
  const holder = spawn("nsenter", inside, { env: productEnv(), stdio: ["ignore", "pipe", "inherit"] });
  t.teardown(() => holder.kill("SIGKILL"));
  let output = "";
  holder.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  await eventually(`port ${port} is held`, async () => output.includes("there"));
  return holder;
}

/** One request after the other, until the end. */
class Requests {
  #going = true;
  readonly #failures: string[] = [];
  readonly #work = this.#ask();

  async #ask(): Promise<void> {
    while (this.#going) {
      await get().then(
        ({ status }) => status === 200 || this.#failures.push(String(status)),
        (error: unknown) => this.#failures.push(String(error)),
      );
    }
  }

  /** @returns what failed */
  async end(): Promise<string[]> {
    this.#going = false;
    await this.#work;
    return this.#failures;
  }
}
