/** All members of a pool in one request. */
import { randomUUID } from "node:crypto";
import t from "tap";
import { ALICE, BOB, type Json, objects, SUBNETS, startApi, type TestApi } from "../support/api.ts";
import { expectRefused, type Refusal } from "../support/api-refusals.ts";
import { databases } from "../support/postgres.ts";

const nobody = randomUUID();

function aMember(last: number, values: Json = {}): Json {
  return { address: `10.0.0.${last}`, protocol_port: 80, ...values };
}

async function members(api: TestApi, pool: string): Promise<Json[]> {
  return objects(await api.call("GET", `/pools/${pool}/members?sort=address,protocol_port`), "members");
}

/** What the API shows of the members, by the last number of their addresses. */
async function shown(api: TestApi, pool: string, names: readonly string[]): Promise<Json> {
  const pick = (each: Json) => Object.fromEntries(names.map((name) => [name, each[name]]));
  return Object.fromEntries((await members(api, pool)).map((each) => [String(each.address).split(".")[3], pick(each)]));
}

for (const database of databases(t)) {
  t.test(`${database.name}: a batch is what the members are to be: made, changed, left alone, removed`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    const { lonely: pool } = await api.graph();
    const path = `/pools/${pool}/members`;
    const put = async (given: Json[], query = "") => {
      const answer = await api.call("PUT", `${path}${query}`, { members: given });
      t.equal(answer.status, 202, answer.text);
      t.equal(answer.text, "", "without a body");
    };
    const status = () => shown(api, pool, ["provisioning_status"]);
    const are = (...statuses: string[]) =>
      Object.fromEntries(statuses.map((each, i) => [String(i + 1), { provisioning_status: each }]));

    await put([aMember(1, { name: "one", weight: 5, tags: ["a"] }), aMember(2, { backup: true }), aMember(3)]);
    t.strictSame(await status(), are("PENDING_CREATE", "PENDING_CREATE", "PENDING_CREATE"));
    await api.reconciler.settle();
    const [one, two, three] = (await members(api, pool)).map(({ id }) => id);

    await put([aMember(1, { name: "one", weight: 5 }), aMember(2, { weight: 7 }), aMember(4, { weight: 9 })]);
    const now = are("ACTIVE", "PENDING_UPDATE", "PENDING_DELETE", "PENDING_CREATE");
    t.strictSame(await status(), now, "as it was, changed, removed, new");
    await api.reconciler.settle();
    t.strictSame(await shown(api, pool, ["name", "weight", "backup", "tags"]), {
      1: { name: "one", weight: 5, backup: false, tags: ["a"] },
      2: { name: "", weight: 7, backup: false, tags: [] },
      4: { name: "", weight: 9, backup: false, tags: [] },
    });
    const ids = (await members(api, pool)).map(({ id }) => id);
    t.strictSame(ids.slice(0, 2), [one, two], "those that were there are the same");
    t.notOk(ids.includes(three));

    await put([aMember(4), aMember(5)], "?additive_only=true");
    await api.reconciler.settle();
    t.strictSame(await shown(api, pool, ["weight"]), {
      1: { weight: 5 },
      2: { weight: 7 },
      4: { weight: 1 },
      5: { weight: 1 },
    });
    await put([aMember(1, { subnet_id: SUBNETS.main.id, monitor_port: 81, name: null })], "?additive_only=False");
    await api.reconciler.settle();
    t.strictSame(await shown(api, pool, ["name", "subnet_id", "monitor_port", "tags"]), {
      1: { name: "", subnet_id: SUBNETS.main.id, monitor_port: 81, tags: ["a"] },
    });
    await put([aMember(1)]);
    await api.reconciler.settle();
    t.strictSame(await shown(api, pool, ["subnet_id", "monitor_port"]), {
      1: { subnet_id: SUBNETS.main.id, monitor_port: null },
    });
    await put([], "?additive_only=true");
    t.equal((await members(api, pool)).length, 1);
    await api.reconciler.settle();
    await put([]);
    t.strictSame(await status(), are("PENDING_DELETE"));
    await api.reconciler.settle();
    t.strictSame(await members(api, pool), [], "none is none");
  });

  t.test(`${database.name}: one address is one member, however it is spelled, and a port makes another`, async (t) => {
    const api = await startApi(t, database);
    const { lonely: pool } = await api.graph();
    const path = `/pools/${pool}/members`;
    const given = [
      { address: "2001:db8::9", protocol_port: 80 },
      { address: "2001:0db8:0::9", protocol_port: 81 },
      { address: "10.0.0.1", protocol_port: 80 },
    ];
    t.equal((await api.call("PUT", path, { members: given })).status, 202);
    const before = (await members(api, pool)).map(({ id }) => id);
    const again = given.map((each) => ({ ...each, address: each.address.replace("::9", ":0:0:0:0:0:0009") }));
    again[1] = { address: "2001:db8::9", protocol_port: 81 };
    const answer = await api.call("PUT", path, { members: again });
    t.equal(answer.status, 202, answer.text);
    t.strictSame(
      (await members(api, pool)).map(({ id }) => id),
      before,
    );
  });

  t.test(`${database.name}: a batch with a fault is refused, naming its place, and changes nothing`, async (t) => {
    const api = await startApi(t, database);
    const { pool, member } = await api.graph();
    const path = `/pools/${pool}/members`;
    const there = { address: "10.77.0.200", protocol_port: 8080 };
    const batch = (status: number, named: string, ...given: unknown[]): Refusal => {
      return [status, named, "PUT", path, "members", given as Json[]];
    };
    const faults = (second: Json, named: string, status = 400): Refusal[] => [
      batch(status, named, aMember(1), second),
      batch(status, "(in members[1])", aMember(1), second),
    ];
    await expectRefused(t, api, [
      ...faults({ address: "10.0.0.2" }, "protocol_port"),
      ...faults({ protocol_port: 80 }, "address"),
      ...faults(aMember(2, { weight: 257 }), "attribute weight."),
      ...faults(aMember(2, { nonsense: 1 }), "nonsense"),
      ...faults(aMember(2, { id: member }), "attribute id."),
      ...faults(aMember(2, { address: "127.0.0.1" }), "attribute address."),
      ...faults(aMember(2, { monitor_address: "::1" }), "attribute monitor_address."),
      ...faults(aMember(2, { subnet_id: nobody }), "attribute subnet_id."),
      ...faults(aMember(2, { project_id: "other" }), "attribute project_id."),
      ...faults({ ...there, weight: -1 }, "attribute weight."),
      ...faults({ ...there, monitor_address: "::1" }, "attribute monitor_address."),
      ...faults({ ...there, subnet_id: nobody }, "attribute subnet_id."),
      ...faults({ ...there, project_id: "other" }, "attribute project_id."),
      ...faults(aMember(1, { weight: 2 }), "members[0]", 409),
      ...faults({ address: "10.0.0.1", protocol_port: "80" }, "members[0]", 409),
      batch(400, "attribute members.", "x"),
      batch(400, "attribute members.", null),
      [400, "members", "PUT", path, "member", aMember(1)],
      [400, "attribute members.", "PUT", path, "members", aMember(1)],
      [400, "additive_only", "PUT", `${path}?additive_only=perhaps`, "members", []],
      [404, `Pool ${nobody}`, "PUT", `/pools/${nobody}/members`, "members", []],
    ]);
    for (const [token, status] of [
      [BOB, 403],
      ["", 401],
    ] as const) {
      t.equal((await api.call("PUT", path, { members: [] }, { token })).status, status);
    }
  });

  t.test(`${database.name}: a batch costs as many statements for hundreds of members as for two`, async (t) => {
    let statements: string[] = [];
    const api = await startApi(t, database, { settles: false, onQuery: (statement) => statements.push(statement) });
    const { lonely: pool } = await api.graph(ALICE);
    const put = async (number: number, values: Json) => {
      statements = [];
      const given = Array.from({ length: number }, (_, i) => aMember(1, { protocol_port: i + 1, ...values }));
      const answer = await api.call("PUT", `/pools/${pool}/members`, { members: given }, { token: ALICE });
      t.equal(answer.status, 202, answer.text);
      const taken = statements.length;
      await api.reconciler.settle();
      return taken;
    };
    const few = [await put(2, {}), await put(2, { weight: 2 }), await put(2, { weight: 2 }), await put(0, {})];
    const many = [await put(300, {}), await put(300, { weight: 2 }), await put(300, { weight: 2 }), await put(0, {})];
    t.strictSame(many, few);
  });
}
