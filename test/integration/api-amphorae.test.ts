/** What administrators are told of amphorae, and may do to them; and what providers say of themselves. */
import { randomUUID } from "node:crypto";
import t from "tap";
import { amphora } from "../../controller/model/amphora.ts";
import { availabilityZoneData } from "../../controller/model/availability-zone-profile.ts";
import { flavorData } from "../../controller/model/flavor-profile.ts";
import { AMPHORA_STATUSES } from "../../controller/model/status.ts";
import { selectRows, updateRow } from "../../controller/store/rows.ts";
import { ALICE, objects, startApi, type TestApi } from "../support/api.ts";
import { errorProblems } from "../support/api-errors.ts";
import { databases, SQLITE } from "../support/postgres.ts";
import { aLoadBalancer, anAmphora, contents, insertAll } from "../support/tree.ts";

/** A load balancer of a pair, and one of a single amphora. */
async function prepare(api: TestApi) {
  const { id: pair } = await api.create("loadbalancer", "/loadbalancers", {}, ALICE);
  const { id: single } = await api.create("loadbalancer", "/loadbalancers", {});
  await api.reconciler.settle();
  const [one, two] = [aLoadBalancer({ id: pair }), aLoadBalancer({ id: single })];
  const rows = [
    anAmphora(one, { role: "MASTER", lb_network_ip: "127.77.0.1", compute_flavor: "601" }),
    anAmphora(one, { role: "BACKUP", lb_network_ip: "127.77.0.2", compute_flavor: "601" }),
    anAmphora(two, { role: "STANDALONE", lb_network_ip: "127.77.0.3", compute_flavor: "602" }),
  ] as const;
  await insertAll(api.store, amphora, ...rows);
  return { pair, single, rows };
}

for (const database of databases(t)) {
  t.test(`${database.name}: amphorae are found by what they are, and show nothing secret`, async (t) => {
    const api = await startApi(t, database);
    const { pair, rows } = await prepare(api);
    const [master, backup, alone] = rows.map(({ id }) => id);
    for (const [query, ids] of [
      ["", [master, backup, alone]],
      [`loadbalancer_id=${pair}`, [master, backup]],
      [`loadbalancer_id=${pair}&role=BACKUP`, [backup]],
      ["role=MASTER&role=STANDALONE", [master, alone]],
      ["lb_network_ip=127.77.0.3", [alone]],
      ["status=ERROR", []],
      ["compute_flavor=601&status=ALLOCATED&cert_busy=false", [master, backup]],
    ] as const) {
      for (const path of ["/amphorae", "//v2.0/octavia/amphorae"]) {
        const answer = await api.call("GET", `${path}?${query}`);
        const found = objects(answer, "amphorae").map(({ id }) => String(id));
        t.strictSame(found.sort(), [...ids].sort(), `${path}?${query}`);
        for (const secret of ["heartbeat_key", "00".repeat(32)]) t.notOk(answer.text.includes(secret));
      }
    }
    const page = await api.call("GET", "/amphorae?limit=2&sort=lb_network_ip&fields=role");
    t.strictSame(objects(page, "amphorae"), [{ role: "MASTER" }, { role: "BACKUP" }]);
    t.match(objects(page, "amphorae_links"), [{ rel: "next", href: new RegExp(`marker=${backup}`) }]);
    t.equal((await api.call("GET", "/amphorae?heartbeat_key=x")).status, 400, "nor is it looked for");
    t.match(await api.show("amphora", `/amphorae/${alone}`), { id: alone, role: "STANDALONE", vrrp_ip: null });
    t.strictSame(await api.show("amphora", `/amphorae/${alone}?fields=id`), { id: alone });
  });

  t.test(`${database.name}: an amphora is replaced, or told again what it should be, and nobody else's`, async (t) => {
    const api = await startApi(t, database, { settles: false, settleWait: 0 });
    const { pair, single, rows } = await prepare(api);
    const [master, , alone] = rows;
    const statusOf = async (lb: string) => (await api.show("loadbalancer", `/loadbalancers/${lb}`)).provisioning_status;
    const retiring = async () => (await selectRows(api.store.db, amphora, { retiring: true })).map(({ id }) => id);
    t.match(await api.call("PUT", `/amphorae/${alone.id}/config`), { status: 202, text: "" });
    t.strictSame([await statusOf(single), await statusOf(pair)], ["PENDING_UPDATE", "ACTIVE"]);
    t.strictSame(await retiring(), []);
    const busy = await api.call("PUT", `/amphorae/${alone.id}/failover`);
    t.strictSame(errorProblems(busy, 409, `Load Balancer ${single} is immutable`), []);
    await api.reconciler.settle();
    t.match(await api.call("PUT", `/amphorae/${master.id}/failover`), { status: 202, text: "" });
    t.strictSame([await statusOf(single), await statusOf(pair)], ["ACTIVE", "PENDING_UPDATE"]);
    t.strictSame(await retiring(), [master.id]);
  });

  t.test(`${database.name}: only an amphora that has failed can be deleted`, async (t) => {
    const api = await startApi(t, database);
    const { rows } = await prepare(api);
    const [, , { id }] = rows;
    for (const status of AMPHORA_STATUSES) {
      await updateRow(api.store.db, amphora, id, { status });
      const before = await contents(api.store);
      const answer = await api.call("DELETE", `/amphorae/${id}`);
      if (status === "ERROR") t.equal(answer.status, 204, answer.text);
      else {
        t.strictSame(errorProblems(answer, 409, "can be replaced, by a failover"), [], status);
        t.strictSame(await contents(api.store), before, status);
      }
      await api.reconciler.settle();
    }
  });
}

t.test("amphorae are the administrators' alone, and those that are not there are 404", async (t) => {
  const api = await startApi(t, SQLITE);
  const { rows } = await prepare(api);
  const [{ id }] = rows;
  const before = await contents(api.store);
  for (const [method, path] of [
    ["GET", ""],
    ["PUT", "/failover"],
    ["PUT", "/config"],
    ["GET", "/stats"],
    ["DELETE", ""],
  ] as const) {
    const mine = await api.call(method, `/amphorae/${id}${path}`, undefined, { token: ALICE });
    t.strictSame(errorProblems(mine, 403), [], `${method} ${path}`);
    for (const nobody of [randomUUID(), "x"]) {
      const missing = await api.call(method, `/amphorae/${nobody}${path}`);
      t.strictSame(errorProblems(missing, 404, `Amphora ${nobody} not found`), [], `${method} ${path}`);
    }
  }
  t.strictSame(await contents(api.store), before);
});

t.test("providers are named to everybody, and what they take to administrators", async (t) => {
  const api = await startApi(t, SQLITE);
  const names = async (path: string, root: string) =>
    objects(await api.call("GET", path), root).map(({ name }) => name);
  t.strictSame(await names("/providers", "providers"), ["amphora", "octavia"]);
  const some = await api.call("GET", "/providers?fields=name", undefined, { token: ALICE });
  t.strictSame(objects(some, "providers"), [{ name: "amphora" }, { name: "octavia" }]);
  for (const [kind, schema] of [
    ["flavor_capabilities", flavorData],
    ["availability_zone_capabilities", availabilityZoneData],
  ] as const) {
    for (const provider of ["amphora", "octavia"]) {
      const path = `/providers/${provider}/${kind}`;
      t.strictSame(await names(path, kind), Object.keys(schema.shape));
      for (const { description } of objects(await api.call("GET", path), kind)) t.ok(description, path);
      t.strictSame(errorProblems(await api.call("GET", path, undefined, { token: ALICE }), 403), []);
    }
    t.strictSame(errorProblems(await api.call("GET", `/providers/x/${kind}`), 400, "'x' is not enabled"), []);
  }
});
