/** A tenant of a cloud with a real Keystone: what `openstack` makes serves traffic, and shows what becomes of it. */
import t from "tap";
import { startCloud } from "../support/cloud.ts";
import { until } from "../support/deployment.ts";
import { call } from "../support/http.ts";
import { Machine, WEB_PORT } from "../support/machine.ts";
import { Openssl } from "../support/openssl.ts";
import { type Json, Shell } from "../support/openstack.ts";

const SUBNET = "00000000-0000-4000-8000-00000000000a";

t.test("a load balancer of the command line's serves, and is followed to its end", async (t) => {
  const openssl = await Openssl.make(t);
  const bundle = await openssl.file(await openssl.bundle(await openssl.issue("/CN=www.example.org")));
  const subnet = { id: SUBNET, cidr: "10.77.0.0/24" };
  const cloud = await startCloud(t, { subnets: [{ id: SUBNET, name: "web" }] }, { subnets: [subnet] });
  const alice = Shell.open(t, cloud.environment("alice"));
  const admin = Shell.open(t, cloud.environment("admin"));
  const machines = [
    await Machine.make(t, "10.77.0.201/24", "10.77.0.1"),
    await Machine.make(t, "10.77.0.202/24", "10.77.0.1"),
  ];
  for (const machine of machines) await machine.serve();

  const create = ["create", "--name", "www", "--vip-subnet-id", "web", "--wait"];
  const { vip_address: vip, id } = await alice.one("loadbalancer", ...create);
  const http = ["--name", "http", "--protocol", "HTTP", "--protocol-port", "80"];
  await alice.one("loadbalancer", "listener", "create", ...http, "www");
  const pool = ["--name", "servers", "--protocol", "HTTP", "--lb-algorithm", "ROUND_ROBIN", "--listener", "http"];
  await alice.one("loadbalancer", "pool", "create", ...pool);
  for (const { name, address } of machines) {
    const member = ["--name", name, "--address", address, "--protocol-port", String(WEB_PORT)];
    await alice.one("loadbalancer", "member", "create", ...member, "servers");
  }
  const checks = ["--type", "HTTP", "--delay", "1", "--timeout", "1", "--max-retries", "1", "--url-path", "/"];
  await alice.one("loadbalancer", "healthmonitor", "create", ...checks, "servers");
  const reference = await alice.value("Secret href", "secret", "store", "--name", "www", "--file", bundle);
  const https = ["--protocol", "TERMINATED_HTTPS", "--protocol-port", "443", "--default-pool", "servers"];
  await alice.one("loadbalancer", "listener", "create", ...https, "--default-tls-container-ref", reference, "www");

  const shows = (wanted: Json) =>
    until(`it shows ${JSON.stringify(wanted)}`, async () => {
      const shown = await alice.one("loadbalancer", "show", "www");
      return Object.entries(wanted).every(([key, value]) => shown[key] === value);
    });
  await shows({ provisioning_status: "ACTIVE", operating_status: "ONLINE" });
  const host = String(vip);
  const answers = async () => {
    const found = new Set<string>();
    for (let i = 0; i < 4; i++) found.add((await call({ host })).text.trim());
    return [...found].sort();
  };
  const everybody = machines.map(({ name }) => name).sort();
  t.strictSame(await answers(), everybody);
  const { secured, status } = await call({ host, tls: { rejectUnauthorized: false } });
  t.match({ server: secured?.server, status }, { server: "www.example.org", status: 200 });
  await until("its statistics count the connections of both listeners", async () => {
    const { total_connections } = await alice.one("loadbalancer", "stats", "show", "www");
    return Number(total_connections) >= 5;
  });

  const amphorae = async (...of: readonly string[]) => admin.many("loadbalancer", "amphora", "list", ...of);
  const [first, ...others] = await amphorae("--loadbalancer", String(id));
  t.match(first, { status: "ALLOCATED", role: "STANDALONE", ha_ip: vip });
  t.strictSame(others, []);
  await admin.quiet("loadbalancer", "failover", "--wait", "www");
  const [second] = await amphorae("--loadbalancer", String(id));
  t.not(second?.id, first?.id, "another amphora");
  t.strictSame(await answers(), everybody, "the other one serves at once");

  await alice.quiet("loadbalancer", "delete", "--cascade", "--wait", "www");
  t.strictSame(await alice.many("loadbalancer", "list"), []);
  t.strictSame(await amphorae(), []);
  await t.rejects(call({ host }), "nothing answers any more");
});
