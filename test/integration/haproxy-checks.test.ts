/** Health monitors: each kind finds out who is well, the way it says. */
import type { IncomingMessage } from "node:http";
import { createServer } from "node:net";
import { execa } from "execa";
import type { Test } from "tap";
import { eventually, startAgent } from "../support/agent.ts";
import { onEachRelease } from "../support/haproxy-releases.ts";
import { served, Upstream } from "../support/http.ts";
import { TestAuthority } from "../support/pki.ts";
import {
  idOf,
  listener,
  type MemberInput,
  type MonitorInput,
  member,
  monitor,
  type PoolInput,
  pool,
} from "../support/specs.ts";
import { plugTenant, tenantSpec } from "../support/tenant.ts";

/** The ports of what members may be, at 10.77.0.21. Nobody listens on 9999. */
const PORTS = { web: 8080, secure: 8443, strict: 8444, silent: 9000 } as const;
const NOBODY = 9999;

interface Case {
  readonly monitor: Partial<MonitorInput>;
  readonly pool?: Partial<PoolInput>;
  readonly up: readonly Partial<MemberInput>[];
  readonly down: readonly Partial<MemberInput>[];
}

const at = (what: keyof typeof PORTS) => ({ protocol_port: PORTS[what] });
const nobody = { protocol_port: NOBODY };

const CASES: Record<string, Case> = {
  HTTP: { monitor: {}, up: [at("web")], down: [nobody, at("silent"), at("secure")] },
  "HTTP, another path": { monitor: { url_path: "/fails" }, up: [], down: [at("web")] },
  "HTTP, a path that needs quoting": { monitor: { url_path: "/it's?a=%20\"#" }, up: [at("web")], down: [] },
  "HTTP, the code that fails": { monitor: { url_path: "/fails", expected_codes: "503" }, up: [at("web")], down: [] },
  "HTTP, a list of codes": { monitor: { url_path: "/204", expected_codes: "200,204" }, up: [at("web")], down: [] },
  "HTTP, a range of codes": { monitor: { url_path: "/204", expected_codes: "201-203,205" }, up: [], down: [at("web")] },
  "HTTP, by POST": { monitor: { http_method: "POST", url_path: "/post" }, up: [at("web")], down: [] },
  "HTTP/1.1, with a host": {
    monitor: { http_version: 1.1, domain_name: "www.example.com", url_path: "/host/www.example.com" },
    up: [at("web")],
    down: [],
  },
  "HTTP/1.1, without a name": {
    monitor: { http_version: 1.1, url_path: "/host/10.77.0.5" },
    up: [at("web")],
    down: [],
  },
  "HTTP, in a TCP pool": { monitor: {}, pool: { protocol: "TCP" }, up: [at("web")], down: [nobody] },
  TCP: { monitor: { type: "TCP" }, up: [at("web"), at("silent")], down: [nobody] },
  "HTTPS, of members spoken to in the clear": {
    monitor: { type: "HTTPS" },
    up: [at("secure")],
    down: [at("web"), at("strict"), nobody],
  },
  "HTTPS, behind pass-through": {
    monitor: { type: "HTTPS" },
    pool: { protocol: "HTTPS" },
    up: [at("secure")],
    down: [at("web")],
  },
  "TLS-HELLO, also of members that want a certificate": {
    monitor: { type: "TLS-HELLO" },
    pool: { protocol: "HTTPS" },
    up: [at("secure"), at("strict")],
    down: [at("web"), at("silent"), nobody],
  },
  elsewhere: {
    monitor: {},
    up: [
      { ...nobody, monitor_port: PORTS.web },
      { address: "192.0.2.1", monitor_address: "10.77.0.21" },
    ],
    down: [{ monitor_port: NOBODY }],
  },
  PING: { monitor: { type: "PING" }, up: [nobody, { address: "fd77::21" }], down: [{ address: "10.77.0.99" }] },
  "PING, elsewhere": {
    monitor: { type: "PING" },
    up: [{ address: "10.77.0.98", monitor_address: "10.77.0.21" }],
    down: [],
  },
};

onEachRelease("health monitors", serving, {
  "each kind tells who is up and who is down": async (_, site) => {
    const cases = Object.entries(CASES);
    let number = 0;
    const wanted: [what: string, pool: string, member: string, state: string][] = [];
    const pools = cases.map(([what, { monitor: fields, pool: changes, up, down }], i) => {
      const members = [...up, ...down].map((each) => member(++number, { address: "10.77.0.21", ...each }));
      members.forEach(({ id }, j) => {
        wanted.push([what, idOf("pool", i + 1), id, j < up.length ? "UP" : "DOWN"]);
      });
      return pool(i + 1, members, { health_monitor: monitor({ id: idOf("monitor", i), ...fields }), ...changes });
    });
    await site.apply(pools);
    const state = async (pool: string, member: string) => (await site.agent.health()).pools[pool]?.[member];
    for (const [what, pool, member, wish] of wanted) {
      if (wish === "DOWN")
        await eventually(`${what}: ${member} is down`, async () => (await state(pool, member)) === "DOWN");
    }
    // everybody begins as up: those that are so by now have been checked as often as those that are down
    // one of them that a busy host has let fail comes back with its next check
    for (const [what, pool, member, wish] of wanted)
      await eventually(`${what}: ${member} is ${wish}`, async () => (await state(pool, member)) === wish);
  },

  "max_retries_down failures until a member is down, max_retries successes until it is up": async (t, site) => {
    // the agent looks once a second: the check after the last that counts comes later than that
    const health_monitor = monitor({ delay: 2, url_path: "/toggle", max_retries: 2, max_retries_down: 3 });
    await site.apply([pool(1, [member(1, at("web"))], { health_monitor })]);
    await eventually("it is checked", async () => site.toggled.length > 0);
    site.toggle = 503;
    site.toggled.length = 0;
    await eventually("it is down", async () => (await site.state()) === "DOWN");
    t.equal(site.toggled.filter((status) => status === 503).length, 3);
    site.toggle = 200;
    site.toggled.length = 0;
    await eventually("it is up", async () => (await site.state()) === "UP");
    t.equal(site.toggled.filter((status) => status === 200).length, 2);
  },

  "an answer that takes longer than timeout is none": async (_, site) => {
    await site.apply([
      pool(1, [member(1, at("web"))], { health_monitor: monitor({ url_path: "/slow", delay: 1, timeout: 1 }) }),
    ]);
    await eventually("it is down", async () => (await site.state()) === "DOWN");
  },

  "PING: who is silent gets no requests, over reloads and without an agent, until it answers": async (t, site) => {
    const members = [
      member(1, { address: "10.77.0.99", ...at("web") }),
      member(2, { address: "10.77.0.21", ...at("web") }),
    ];
    const pools = [pool(1, members, { health_monitor: monitor({ type: "PING" }) })];
    await site.apply(pools);
    await eventually("it is down", async () => (await site.state()) === "DOWN");
    t.equal(await site.state(2), "UP");
    const allFrom = async (what: string) => {
      for (let i = 0; i < 4; i++) t.equal(await served(), "web", what);
    };
    await allFrom("while it is down");
    t.equal((await site.apply(pools, 81)).how, "reload");
    t.equal(await site.state(), "DOWN", "after a reload");
    await allFrom("after a reload");
    await site.agent.end("SIGKILL");
    await allFrom("without an agent");
    await site.agent.start();
    await eventually("the agent knows", async () => (await site.state()) === "DOWN");
    await allFrom("with another agent");
    await execa("ip", ["address", "add", "10.77.0.99/24", "dev", "tenant0"]);
    await Upstream.start(t, "late", "10.77.0.99");
    await eventually("it is up", async () => (await site.state()) === "UP");
    t.strictSame([await served(), await served()].sort(), ["late", "web"]);
    t.equal((await site.apply([pool(1, members)], 81)).how, "reload", "a monitor that goes takes its verdicts with it");
  },

  "PING: a verdict does not outlive its monitor": async (t, site) => {
    const members = [member(1, { address: "10.77.0.97", monitor_address: "10.77.0.97", ...at("web") })];
    await site.apply([pool(1, members, { health_monitor: monitor({ type: "PING" }) })]);
    await eventually("it is down", async () => (await site.state()) === "DOWN");
    await site.apply([pool(1, members)]);
    t.equal(await site.state(), "NO_CHECK");
  },
});

/** An agent; at 10.77.0.21 a web server, two in TLS, of which one wants certificates, and one that says nothing. */
async function serving(t: Test, haproxy: string) {
  const agent = await startAgent(t, { haproxy });
  await plugTenant(t);
  const authority = await TestAuthority.make("members");
  const pair = await authority.issue("CN=member.example");
  const tls = { cert: pair.certificate, key: pair.private_key };
  let revision = 0;
  const site = {
    agent,
    toggle: 200,
    /** what /toggle was answered */
    toggled: [] as number[],
    apply: (pools: PoolInput[], port = 80) =>
      agent.apply(
        tenantSpec(agent, ++revision, {
          listeners: pools.map(({ id, protocol }, i) =>
            listener(i + 1, {
              default_pool_id: id,
              protocol: protocol === "HTTP" ? "HTTP" : "TCP",
              protocol_port: i === 0 ? 80 : 1000 + i,
            }),
          ),
          vips: ["10.77.0.5"],
          ...(port === 80 ? {} : { listeners: [listener(1), listener(2, { protocol_port: port })] }),
          pools,
        }),
      ),
    state: async (number = 1) => (await agent.health()).pools[idOf("pool")]?.[idOf("member", number)],
  };
  const answer = (incoming: IncomingMessage) => {
    const path = incoming.url ?? "";
    if (path === "/fails") return 503;
    if (path === "/204") return 204;
    if (path === "/it's?a=%20\"#") return 200;
    if (path === "/post") return incoming.method === "POST" ? 200 : 405;
    if (path.startsWith("/host/")) return incoming.headers.host === path.slice("/host/".length) ? 200 : 400;
    if (path !== "/toggle") return null;
    site.toggled.push(site.toggle);
    return site.toggle;
  };
  const options: Parameters<typeof Upstream.start>[3] = {
    answer: (incoming, response) => {
      if (incoming.url === "/slow") return true;
      const status = answer(incoming);
      if (status !== null) response.writeHead(status).end();
      return status !== null;
    },
  };
  await Upstream.start(t, "web", "10.77.0.21", options);
  await Upstream.start(t, "secure", "10.77.0.21", { port: PORTS.secure, tls });
  const strict = {
    ...tls,
    ca: authority.certificate,
    requestCert: true,
    rejectUnauthorized: true,
    maxVersion: "TLSv1.2",
  } as const;
  await Upstream.start(t, "strict", "10.77.0.21", { port: PORTS.strict, tls: strict });
  const silent = createServer((socket) => socket.on("error", () => undefined));
  t.teardown(() => silent.close());
  await new Promise<void>((resolve) => silent.listen(PORTS.silent, "10.77.0.21", resolve));
  return site;
}
