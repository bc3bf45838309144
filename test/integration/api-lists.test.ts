import { randomUUID } from "node:crypto";
import t from "tap";
import { ADMIN, ALICE, BOB, type Json, object, objects, someMembers, startApi } from "../support/api.ts";
import { databases } from "../support/postgres.ts";

for (const database of databases(t)) {
  t.test(`${database.name}: a filter gives what is equal, several values either, several filters both`, async (t) => {
    const api = await startApi(t, database);
    const path = await someMembers(api, [
      { name: "a", weight: 1, admin_state_up: true, monitor_port: 80 },
      { name: "b", weight: 1, admin_state_up: false },
      { name: "it's", weight: 2, admin_state_up: true },
    ]);
    const cases: Record<string, string[]> = {
      "": ["a", "b", "it's"],
      "name=b": ["b"],
      "name=it%27s": ["it's"],
      "name=nobody": [],
      "name=a&name=b": ["a", "b"],
      "weight=1": ["a", "b"],
      "weight=-1": [],
      "weight=1&admin_state_up=false": ["b"],
      "admin_state_up=True": ["a", "it's"],
      "admin_state_up=1": ["a", "it's"],
      "monitor_port=80": ["a"],
      "tenant_id=project": ["a", "b", "it's"],
      "project_id=other": [],
      "provisioning_status=ACTIVE&weight=2": ["it's"],
    };
    for (const [query, names] of Object.entries(cases)) {
      const answer = await api.call("GET", `${path}?${query}`);
      t.strictSame(
        objects(answer, "members")
          .map(({ name }) => name)
          .sort(),
        names,
        query,
      );
    }
  });

  t.test(`${database.name}: only the fields that were asked for are given, in lists and of one`, async (t) => {
    const api = await startApi(t, database);
    const { id } = await api.create("loadbalancer", "/loadbalancers", { name: "x" });
    const cases: Record<string, Json> = {
      "fields=id&fields=name": { id, name: "x" },
      "fields=id,name": { id, name: "x" },
      "fields=tenant_id": { tenant_id: "admin" },
      "fields=nonsense": {},
      "fields=nonsense&fields=name": { name: "x" },
      "fields=revision,lease_owner,doomed": {},
    };
    for (const [query, fields] of Object.entries(cases)) {
      t.strictSame(objects(await api.call("GET", `/loadbalancers?${query}`), "loadbalancers"), [fields], query);
      t.strictSame((await api.call("GET", `/loadbalancers/${id}?${query}`)).body, { loadbalancer: fields }, query);
    }
  });

  t.test(`${database.name}: a question that makes no sense is refused, naming what is wrong`, async (t) => {
    const api = await startApi(t, database);
    const { pool: poolId } = await api.graph();
    const cases: Record<string, string> = {
      "limit=0": "limit",
      "limit=-1": "limit",
      "limit=many": "limit",
      "limit=1.5": "limit",
      "limit=": "limit",
      [`marker=${randomUUID()}`]: "marker",
      "marker=": "marker",
      "marker=%00": "marker",
      "sort=nonsense": "nonsense",
      "sort=name:up": "name:up",
      "sort=name:asc:desc": "name:asc:desc",
      "sort=tags": "tags",
      "sort=doomed": "doomed",
      "sort_key=nonsense": "nonsense",
      "sort_key=name&sort_dir=up": "name:up",
      "page_reverse=maybe": "page_reverse",
      "nonsense=1": "nonsense",
      "doomed=true": "doomed",
      "loadbalancer_id[]=1": "loadbalancer_id[]",
      "__proto__=1": "__proto__",
      "admin_state_up=perhaps": "admin_state_up",
      "admin_state_up=": "admin_state_up",
      "name=%00": "name",
      "id=%00": "id",
    };
    const numbers = { listeners: "protocol_port", [`pools/${poolId}/members`]: "weight", healthmonitors: "delay" };
    for (const path of ["loadbalancers", "pools", ...Object.keys(numbers)]) {
      for (const [query, named] of Object.entries(cases)) {
        const answer = await api.call("GET", `/${path}?${query}`);
        t.equal(answer.status, 400, `${path}?${query}`);
        t.ok(String(answer.body.faultstring).includes(named), `${query}: ${answer.body.faultstring}`);
      }
    }
    for (const [path, field] of Object.entries(numbers)) {
      for (const value of [
        "x",
        "1.5",
        "2147483648",
        "-2147483649",
        "999999999999999999999",
        "1e3",
        "NaN",
        "",
        "0x10",
      ]) {
        const answer = await api.call("GET", `/${path}?${field}=${value}`);
        t.equal(answer.status, 400, `${path}?${field}=${value}`);
        t.ok(String(answer.body.faultstring).includes(field));
      }
    }
    t.equal((await api.call("GET", "/healthmonitors?http_version=1.1")).status, 200);
  });

  t.test(`${database.name}: everybody sees the own project's, and an administrator all`, async (t) => {
    const api = await startApi(t, database);
    const [alices, bobs] = [await api.graph(ALICE), await api.graph(BOB)];
    const ids = async (path: string, token: string) => {
      const answer = await api.call("GET", path, undefined, { token });
      const [name = ""] = Object.keys(answer.body);
      return objects(answer, name)
        .map(({ id }) => String(id))
        .sort();
    };
    const kinds = { loadbalancers: "lb", listeners: "listener", healthmonitors: "monitor" } as const;
    for (const [kind, key] of Object.entries(kinds)) {
      t.strictSame(await ids(`/${kind}`, ALICE), [alices[key]]);
      t.strictSame(await ids(`/${kind}`, BOB), [bobs[key]]);
      t.strictSame(await ids(`/${kind}`, ADMIN), [alices[key], bobs[key]].sort());
      t.strictSame(await ids(`/${kind}?project_id=beta`, ADMIN), [bobs[key]]);
      for (const name of ["project_id", "tenant_id"]) {
        const others = await api.call("GET", `/${kind}?${name}=beta`, undefined, { token: ALICE });
        t.equal(others.status, 403, "another's is not to be had by asking for it");
      }
      t.strictSame(await ids(`/${kind}?project_id=alpha`, ALICE), [alices[key]]);
      t.strictSame(await ids(`/${kind}?id=${bobs[key]}`, ALICE), []);
    }
    t.strictSame(await ids("/pools", ALICE), [alices.pool, alices.lonely].sort());
    t.strictSame(await ids(`/pools/${alices.pool}/members`, ALICE), [alices.member]);
  });

  t.test(`${database.name}: the other names of a path lead to the same`, async (t) => {
    const api = await startApi(t, database);
    const { lb } = await api.graph();
    const bases = ["/v2.0/lbaas", "/v2/lbaas", "/v2.0", "/v2", "/v2.0/octavia", "/v2/octavia"];
    for (const base of bases) {
      for (const path of ["/loadbalancers", "/listeners", "/pools", "/healthmonitors", "/amphorae"]) {
        const answer = await api.call("GET", `/${base}${path}`);
        t.equal(answer.status, 200, base + path);
        t.strictSame(answer.body, (await api.call("GET", path)).body);
        t.strictSame((await api.call("GET", `/${base}${path}/`)).body, answer.body, "with a slash at the end");
      }
      t.equal(object(await api.call("GET", `/${base}/loadbalancers/${lb}`), "loadbalancer").id, lb);
    }
  });
}
