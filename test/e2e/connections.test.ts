/** Connections seen through the controller: of every amphora, by every filter, page by page, and when one is silent. */
import { join } from "node:path";
import { execa } from "execa";
import t from "tap";
import { hasIpvs } from "../../agent/dataplane/ipvs.ts";
import { connection } from "../../agent/protocol.ts";
import { Deployment, type Json, LBAAS, until } from "../support/deployment.ts";
import { Flow, TellingMember } from "../support/flows.ts";

const CONTROLLER = join(import.meta.dirname, "../../controller/amphora-controller");

t.test("an operator sees who is connected to whom, and which amphora says nothing", async (t) => {
  const deployment = await Deployment.make(t);
  await deployment.start();
  await TellingMember.start(t, 1, "10.77.0.1", 8080);
  const profile = await deployment.create("flavorprofile", "/flavorprofiles", {
    name: "pair",
    provider_name: "amphora",
    flavor_data: JSON.stringify({ loadbalancer_topology: "ACTIVE_STANDBY" }),
  });
  const flavor = await deployment.create("flavor", "/flavors", {
    name: "pair",
    flavor_profile_id: profile.id,
    enabled: true,
  });
  const lb = await deployment.create("loadbalancer", "/loadbalancers", { name: "site", flavor_id: flavor.id });
  const vip = String(lb.vip_address);
  const listener = await deployment.create("listener", "/listeners", {
    loadbalancer_id: lb.id,
    protocol: "TCP",
    protocol_port: 80,
  });
  const pool = await deployment.create("pool", "/pools", {
    listener_id: listener.id,
    protocol: "TCP",
    lb_algorithm: "ROUND_ROBIN",
  });
  const member = await deployment.create("member", `/pools/${pool.id}/members`, {
    address: "10.77.0.1",
    protocol_port: 8080,
  });
  await deployment.becomes("loadbalancer", `/loadbalancers/${lb.id}`, { provisioning_status: "ACTIVE" });
  const flows: Flow[] = [];
  await until("the VIP answers", async () => {
    const flow = await Flow.open(t, vip, 80).catch(() => null);
    if (flow !== null) flows.push(flow);
    return flow !== null;
  });
  for (let i = 1; i < 5; i++) flows.push(await Flow.open(t, vip, 80));
  for (const flow of flows) await flow.ask();
  const ports = flows.map(({ localPort }) => String(localPort)).sort();

  const path = `${LBAAS}/listeners/${listener.id}/connections`;
  const ask = async (query = "") => {
    const { status, body } = await deployment.call("GET", `${path}?${query}`);
    t.equal(status, 200, JSON.stringify(body));
    const { connections, connections_links: links, missing } = body as unknown as Record<string, Json[]>;
    const found = (connections ?? []).map((each) => connection.parse(each));
    return { found, next: links?.[0]?.href as string | undefined, missing: missing ?? [] };
  };
  const whole = await ask();
  t.strictSame(whole.missing, []);
  t.strictSame(whole.found.map(({ client_src_port }) => client_src_port).sort(), ports);
  t.match(whole.found[0], {
    listener_id: listener.id,
    pool_id: pool.id,
    member_id: member.id,
    status: "ESTABLISHED",
    client_dst_ip: vip,
    client_dst_port: "80",
    forward_dst_ip: "10.77.0.1",
    forward_dst_port: "8080",
  });

  const seen: string[] = [];
  for (let next: string | undefined = "limit=2"; next !== undefined; ) {
    const page: Awaited<ReturnType<typeof ask>> = await ask(next);
    t.ok(page.found.length <= 2);
    seen.push(...page.found.map(({ client_src_port }) => client_src_port));
    next = page.next?.split("?")[1];
  }
  t.strictSame(seen.sort(), ports, "pages hold each once");
  const one = whole.found[2];
  const back = await ask(`forward_src_ip=${one?.forward_src_ip}&forward_src_port=${one?.forward_src_port}`);
  t.strictSame(
    back.found.map(({ id }) => id),
    [one?.id],
    "from what the member saw to the client",
  );
  t.equal((await ask("client_src_ip=192.0.2.0/24")).found.length, 0);

  for (const [query, reason] of [
    ["client_src_port=0", /client_src_port.*'0'.*must be a port from 1 to 65535/],
    ["client_src_ip=nobody", /client_src_ip.*must be an address/],
    ["color=red", /Unknown filter for connections: color/],
    ["cursor=x", /cursor.*limit/],
    ["limit=1&cursor=x", /cursor.*earlier answer/],
  ] as const) {
    const { status, body } = await deployment.call("GET", `${path}?${query}`);
    t.equal(status, 400);
    t.match(body.faultstring, reason);
  }
  const { status, body } = await deployment.call("GET", `${LBAAS}/listeners/${listener.id}/connection`);
  t.equal(status, 400);
  t.match(body.faultstring, /Only FORWARD_TCP listeners tell their connections, listener \S+ is TCP\./);

  const command = (...args: string[]) =>
    execa(CONTROLLER, ["connections", String(listener.id), "--data-dir", deployment.dataDir, ...args], {
      reject: false,
      timeout: 30_000,
      env: { NODE_OPTIONS: "" },
    });
  const table = await command();
  t.equal(table.exitCode, 0, table.stderr);
  t.match(table.stdout, /^5 connections, 20/);
  const lines = (await command("--json", "--client-src-port", ports[0] ?? "")).stdout.split("\n");
  t.strictSame(
    lines.map((line) => connection.parse(JSON.parse(line)).client_src_port),
    ports.slice(0, 1),
  );

  // an agent that hangs: its host takes connections, and that is all
  const rows = (await deployment.call("GET", `/v2.0/octavia/amphorae?loadbalancer_id=${lb.id}`)).body
    .amphorae as unknown as Json[];
  t.equal(rows.length, 2);
  const serving = whole.found[0]?.amphora_id;
  const other = String(rows.find(({ id }) => id !== serving)?.id);
  const pid = await deployment.agentPid(other);
  process.kill(pid, "SIGSTOP");
  const half = await ask().finally(() => process.kill(pid, "SIGCONT"));
  t.equal(half.found.length, 5, "what the other one knows is there");
  t.strictSame(
    half.missing.map(({ amphora_id }) => amphora_id),
    [other],
  );
  t.match(half.missing[0]?.reason, /no answer within 5000 ms/);
});

t.test(
  "a listener that no amphora of the load balancer can serve is refused, and the load balancer stays ACTIVE",
  async (t) => {
    const deployment = await Deployment.make(t);
    await deployment.start();
    const lb = await deployment.create("loadbalancer", "/loadbalancers", { name: "plain" });
    await deployment.becomes("loadbalancer", `/loadbalancers/${lb.id}`, { provisioning_status: "ACTIVE" });
    for (const protocol of ["FORWARD_TCP", "UDP", "SCTP"]) {
      const { status, body } = await deployment.call("POST", `${LBAAS}/listeners`, {
        listener: { loadbalancer_id: lb.id, protocol, protocol_port: 53 },
      });
      if (await hasIpvs()) {
        t.equal(status, 201, "this kernel has ip_vs");
        await deployment.becomes("loadbalancer", `/loadbalancers/${lb.id}`, { provisioning_status: "ACTIVE" });
        continue;
      }
      t.equal(status, 409);
      t.match(
        body.faultstring,
        new RegExp(`^A ${protocol} listener can't be served .*: ip_vs is missing on amphora [0-9a-f-]{36}\\.$`),
      );
    }
    t.match(await deployment.show("loadbalancer", `/loadbalancers/${lb.id}`), { provisioning_status: "ACTIVE" });
    if (await hasIpvs()) return;
    const whole = await deployment.create("loadbalancer", "/loadbalancers", {
      name: "whole",
      listeners: [
        {
          name: "dns",
          protocol: "UDP",
          protocol_port: 53,
          default_pool: {
            name: "servers",
            protocol: "UDP",
            lb_algorithm: "ROUND_ROBIN",
            members: [{ address: "10.77.0.1", protocol_port: 53 }],
          },
        },
      ],
    });
    const { status_reason } = await deployment.becomes("loadbalancer", `/loadbalancers/${whole.id}`, {
      provisioning_status: "ERROR",
    });
    t.match(String(status_reason), /UDP can't be served here: the kernel of this instance has no ip_vs/);
  },
);
