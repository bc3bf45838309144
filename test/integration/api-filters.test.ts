/** What lists can be restricted to: by tags, and by every attribute of every resource. */
import { randomUUID } from "node:crypto";
import t from "tap";
import { amphora } from "../../controller/model/amphora.ts";
import { healthMonitor } from "../../controller/model/health-monitor.ts";
import { l7policy } from "../../controller/model/l7policy.ts";
import { l7rule } from "../../controller/model/l7rule.ts";
import { listener } from "../../controller/model/listener.ts";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import { member } from "../../controller/model/member.ts";
import { pool } from "../../controller/model/pool.ts";
import type { Resource } from "../../controller/model/resource.ts";
import { timestamp, untyped, updateRow } from "../../controller/store/rows.ts";
import { type Graph, type Json, objects, SUBNETS, startApi, type TestApi } from "../support/api.ts";
import { cataloguePlaces, placesOf } from "../support/api-attributes.ts";
import { databases } from "../support/postgres.ts";
import { aLoadBalancer, anAmphora, insertAll } from "../support/tree.ts";

/** Name -> tags. */
const TAGGED: Readonly<Record<string, readonly string[]>> = {
  none: [],
  red: ["red"],
  both: ["red", "blue"],
  blue: ["blue"],
  odd: ["it's", 'a "quote"', "ünïcode ✓", "%", "_", "\\", "red "],
  big: ["RED"],
};

for (const database of databases(t)) {
  t.test(`${database.name}: tags: all of them, any of them, not all of them, none of them`, async (t) => {
    const api = await startApi(t, database);
    for (const [name, tags] of Object.entries(TAGGED))
      await api.create("loadbalancer", "/loadbalancers", { name, tags });
    const others = ["none", "odd", "big"];
    const cases: [string, string[]][] = [
      ["tags=red", ["red", "both"]],
      ["tags=red,blue", ["both"]],
      ["tags=blue,red", ["both"]],
      ["tags=red&tags=blue", ["both"]],
      ["tags=red,red,", ["red", "both"]],
      ["tags=re", []],
      ["tags=red,nobody", []],
      ["tags-any=red,blue", ["red", "both", "blue"]],
      ["tags-any=nobody,blue", ["both", "blue"]],
      ["tags-any=nobody", []],
      ["not-tags=red", ["blue", ...others]],
      ["not-tags=red,blue", ["red", "blue", ...others]],
      ["not-tags-any=red,blue", others],
      ["not-tags-any=red&not-tags-any=blue", others],
      ["tags=red&not-tags=blue", ["red"]],
      ["tags-any=red,blue&not-tags-any=blue", ["red"]],
      ["tags=red&name=both", ["both"]],
      ...["it's", 'a "quote"', "ünïcode ✓", "%", "_", "\\", "red "].map((tag): [string, string[]] => {
        return [`tags=${encodeURIComponent(tag)}`, ["odd"]];
      }),
      ["tags=it's,%25", ["odd"]],
      ["tags-any=')%20or%201=1--", []],
    ];
    for (const [query, names] of cases) {
      const answer = await api.call("GET", `/loadbalancers?${query}`);
      const found = objects(answer, "loadbalancers").map(({ name }) => name);
      t.strictSame(found.sort(), names.sort(), query);
    }
    for (const query of ["tags=", "tags=,", "tags-any=", "not-tags=", "not-tags-any=,", "tags=a%00b"]) {
      const answer = await api.call("GET", `/loadbalancers?${query}`);
      t.equal(answer.status, 400, query);
      t.match(answer.body.faultstring, query.split("=")[0]);
    }
  });

  t.test(`${database.name}: every attribute of every resource is a filter`, async (t) => {
    const api = await startApi(t, database);
    const graph = await api.graph();
    await fill(api, graph);
    const its = anAmphora(aLoadBalancer({ id: graph.lb }), {
      compute_id: "c1",
      lb_network_ip: "127.77.0.9",
      vrrp_ip: "10.77.0.9",
      ha_ip: "10.77.0.2",
      vrrp_port_id: "p1",
      ha_port_id: "p2",
      cert_expiration: "2030-01-01T00:00:00",
      vrrp_interface: "eth1",
      vrrp_id: 1,
      vrrp_priority: 100,
      cached_zone: "az1",
      image_id: "i1",
      compute_flavor: "601",
      updated_at: timestamp(),
    });
    await insertAll(api.store, amphora, its);
    const places: { resource: Resource; list: string; one: string }[] = [
      ...placesOf(graph).map((each) =>
        each.resource.name === "member" ? { ...each, list: `/pools/${graph.pool}/members` } : each,
      ),
      ...(await cataloguePlaces(api)),
      { resource: amphora, list: "/amphorae", one: `/amphorae/${its.id}` },
    ];
    await api.reconciler.settle();
    const hidden: Json = { loadbalancer_id: graph.lb, pool_id: graph.pool, l7policy_id: graph.policy };
    const unset: string[] = [];
    for (const { resource, list, one } of places) {
      const shown = await api.show(resource.name, one);
      for (const [name, attribute] of Object.entries(resource.attributes)) {
        const { column, write } = attribute;
        if (write === "internal") continue;
        // what is hidden is filtered by all the same
        const value = attribute.hidden ? hidden[name] : shown[name];
        const words = name === "tags" || column === null ? null : wordsOf(value);
        if (words === null) {
          if (name !== "tags") t.equal((await api.call("GET", `${list}?${name}=x`)).status, 400, `${list}?${name}`);
          continue;
        }
        if (words.length === 0) unset.push(`${resource.name}.${name}`);
        for (const word of words) {
          const found = await ids(api, list, `${name}=${encodeURIComponent(word)}`, resource);
          t.ok(found.includes(String(shown[resource.key])), `${list}?${name}=${word}`);
        }
        const other =
          column === "boolean" ? String(value !== true) : column === "text" || column === "json" ? "no-such" : "7919";
        const without = await ids(api, list, `${name}=${other}`, resource);
        t.notOk(without.includes(String(shown[resource.key])), `${list}?${name}=${other}`);
      }
    }
    // what nothing here can have: everything else has been looked for
    t.strictSame(unset.sort(), UNSET);
  });
}

/** Attributes that are null in this test: rows of other tables would have to be there. */
const UNSET = ["loadbalancer.availability_zone", "loadbalancer.flavor_id"];

/** Gives the parts of a graph every attribute there is, whether or not one could have them all. */
async function fill(api: TestApi, { lb, listener: one, pool: its, lonely, member: first, ...rest }: Graph) {
  const ref = randomUUID;
  const { db } = api.store;
  const [subnet_id, port_id] = [SUBNETS.six.id, randomUUID()];
  await updateRow(db, loadBalancer, lb, {
    additional_vips: [{ subnet_id, ip_address: "2001:db8::9", port_id }],
    vip_qos_policy_id: ref(),
    status_reason: "no room",
  });
  await updateRow(db, listener, one, {
    tls_ciphers: "HIGH",
    tls_versions: ["TLSv1.3"],
    alpn_protocols: ["h2"],
    default_tls_container_ref: ref(),
    sni_container_refs: [ref(), ref()],
    client_ca_tls_container_ref: ref(),
    client_crl_container_ref: ref(),
    insert_headers: { "X-Forwarded-For": "true" },
    allowed_cidrs: ["192.0.2.0/24", "2001:db8::/32"],
    redirect_listener_id: one,
    hsts_max_age: 5,
  });
  await updateRow(db, pool, its, {
    tls_ciphers: "HIGH",
    tls_versions: ["TLSv1.2", "TLSv1.3"],
    alpn_protocols: ["h2"],
    tls_container_ref: ref(),
    ca_tls_container_ref: ref(),
    crl_container_ref: ref(),
    session_persistence: {
      type: "APP_COOKIE",
      cookie_name: "session",
      persistence_timeout: null,
      persistence_granularity: null,
    },
  });
  await updateRow(db, member, first, { subnet_id, monitor_address: "10.77.0.99", monitor_port: 81 });
  await updateRow(db, healthMonitor, rest.monitor, { http_version: 1.1, domain_name: "example.org" });
  await updateRow(db, l7policy, rest.policy, {
    redirect_pool_id: lonely,
    redirect_url: "http://example.org/",
    redirect_prefix: "http://example.org",
    redirect_http_code: 302,
  });
  await updateRow(db, l7rule, rest.rule, { key: "x-a" });
  for (const { table } of [loadBalancer, listener, pool, member, healthMonitor, l7policy, l7rule]) {
    await untyped(db).updateTable(table).set({ updated_at: timestamp() }).execute();
  }
}

/** The texts that a filter finds a value by: of a list or an object, those within it. */
function wordsOf(value: unknown): string[] {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value.flatMap(wordsOf);
  if (typeof value !== "object") return [String(value)];
  return Object.entries(value).flatMap(([key, each]) => (each === "true" ? [key] : wordsOf(each)));
}

async function ids(api: TestApi, list: string, query: string, { plural, key }: Resource): Promise<string[]> {
  const answer = await api.call("GET", `${list}?${query}`);
  if (answer.status !== 200) throw new Error(`${list}?${query}: ${answer.status} ${answer.text}`);
  return objects(answer, plural).map((each) => String(each[key]));
}
