/** Who may see connections, and of which listeners. */
import t from "tap";
import { ALICE, BOB, startApi } from "../support/api.ts";
import { SQLITE } from "../support/postgres.ts";

t.test("tenants see those of their own FORWARD_TCP listeners, administrators those of every listener", async (t) => {
  const api = await startApi(t, SQLITE);
  const lb = await api.create("loadbalancer", "/loadbalancers", { name: "lb" }, ALICE);
  const made: Record<string, unknown> = {};
  for (const [protocol, protocol_port] of [
    ["FORWARD_TCP", 22],
    ["UDP", 53],
    ["TCP", 80],
  ] as const) {
    const row = await api.create("listener", "/listeners", { loadbalancer_id: lb.id, protocol, protocol_port }, ALICE);
    made[protocol] = row.id;
  }
  const ask = (protocol: string, name: string, token?: string) =>
    api.call("GET", `/listeners/${made[protocol]}/${name}`, undefined, token === undefined ? {} : { token });

  const own = await ask("FORWARD_TCP", "connection", ALICE);
  t.equal(own.status, 200);
  t.match(own.headers.get("content-type"), /^application\/json/);
  t.strictSame(own.body, { connections: [], connections_links: [], missing: [] });
  for (const protocol of ["UDP", "TCP"]) {
    const other = await ask(protocol, "connection", ALICE);
    t.equal(other.status, 400);
    t.match(other.text, new RegExp(`Only FORWARD_TCP listeners .* is ${protocol}`));
    t.equal((await ask(protocol, "connections")).status, 200);
  }
  t.equal((await ask("FORWARD_TCP", "connections", ALICE)).status, 403);
  t.equal((await ask("FORWARD_TCP", "connection", BOB)).status, 403);
  t.equal((await api.call("GET", "/listeners/nobody/connection")).status, 404);
  for (const query of [
    "client_src_ip=10.0.0.0/33",
    "forward_dst_port=70000",
    "limit=0",
    "cursor=1",
    "client_src_ip=::1&client_src_ip=::1",
    "nothing=1",
  ]) {
    t.equal((await api.call("GET", `/listeners/${made.FORWARD_TCP}/connection?${query}`)).status, 400, query);
  }
});
