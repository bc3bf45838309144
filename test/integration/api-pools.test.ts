/** What goes with which protocol of a pool: persistence, TLS to members, and health monitors. */
import { randomUUID } from "node:crypto";
import t from "tap";
import {
  HEALTH_MONITOR_TYPES,
  type HealthMonitorType,
  POOL_PROTOCOLS,
  type PoolProtocol,
  SESSION_PERSISTENCE_TYPES,
} from "../../templates/fields.ts";
import { type Json, object, startApi, type TestApi } from "../support/api.ts";
import { expectRefused, type Refusal } from "../support/api-refusals.ts";
import { databases, SQLITE } from "../support/postgres.ts";

const TO_TCP: readonly HealthMonitorType[] = ["HTTP", "HTTPS", "TCP", "TLS-HELLO", "PING"];
const MONITORS: Readonly<Record<PoolProtocol, readonly HealthMonitorType[]>> = {
  HTTP: TO_TCP,
  HTTPS: TO_TCP,
  TCP: TO_TCP,
  PROXY: TO_TCP,
  PROXYV2: TO_TCP,
  FORWARD_TCP: ["HTTP", "HTTPS", "TCP", "PING"],
  UDP: ["UDP-CONNECT", "HTTP", "TCP", "PING"],
  SCTP: ["SCTP", "HTTP", "TCP", "PING"],
};
const IN_KERNEL: readonly PoolProtocol[] = ["UDP", "SCTP", "FORWARD_TCP"];
const CHECK = { delay: 5, timeout: 4, max_retries: 3 };

async function bare(api: TestApi): Promise<string> {
  return (await api.create("loadbalancer", "/loadbalancers", {})).id;
}

function aPool(loadbalancer_id: string, protocol: PoolProtocol, values: Json = {}): Json {
  return { loadbalancer_id, protocol, lb_algorithm: "ROUND_ROBIN", ...values };
}

for (const database of databases(t)) {
  t.test(`${database.name}: persistence is kept as it was given, replaced as a whole, and taken away`, async (t) => {
    const api = await startApi(t, database);
    const lb = await bare(api);
    const none = { cookie_name: null, persistence_timeout: null, persistence_granularity: null };
    const { id, session_persistence } = await api.create("pool", "/pools", aPool(lb, "UDP"));
    t.equal(session_persistence, null);
    const update = async (given: Json | null) => {
      const answer = await api.call("PUT", `/pools/${id}`, { pool: { session_persistence: given } });
      t.equal(answer.status, 202, answer.text);
      return (await api.show("pool", `/pools/${id}`)).session_persistence;
    };
    const whole = { type: "SOURCE_IP", persistence_timeout: 60, persistence_granularity: "255.255.255.0" };
    t.strictSame(await update(whole), { ...none, ...whole });
    t.strictSame(await update({ type: "SOURCE_IP" }), { ...none, type: "SOURCE_IP" });
    t.strictSame(await update({ type: "SOURCE_IP", persistence_granularity: "64" }), {
      ...none,
      type: "SOURCE_IP",
      persistence_granularity: "64",
    });
    t.equal(await update(null), null);
  });

  t.test(`${database.name}: a UDP pool is monitored by UDP-CONNECT, no more often than every 3 s`, async (t) => {
    const api = await startApi(t, database);
    const lb = await bare(api);
    const pool = await api.create("pool", "/pools", aPool(lb, "UDP"));
    const tcp = await api.create("pool", "/pools", aPool(lb, "TCP"));
    const check = { ...CHECK, type: "UDP-CONNECT", pool_id: pool.id };
    await api.reconciler.settle();
    await expectRefused(t, api, [
      [400, "attribute delay.", "POST", "/healthmonitors", "healthmonitor", { ...check, delay: 2 }],
      [400, "attribute type.", "POST", "/healthmonitors", "healthmonitor", { ...check, pool_id: tcp.id }],
    ]);
    const { id } = await api.create("healthmonitor", "/healthmonitors", { ...check, delay: 3 });
    await api.reconciler.settle();
    await expectRefused(t, api, [
      [400, "attribute delay.", "PUT", `/healthmonitors/${id}`, "healthmonitor", { delay: 2 }],
      [409, id, "POST", "/healthmonitors", "healthmonitor", check],
    ]);
    const answer = await api.call("PUT", `/healthmonitors/${id}`, { healthmonitor: { delay: 4, timeout: 1 } });
    t.match(object(answer, "healthmonitor"), { delay: 4, timeout: 1, http_method: null, url_path: null });
  });
}

t.test("what keepalived checks is asked for with GET, and has the family of a VIP", async (t) => {
  const api = await startApi(t, SQLITE);
  const lb = await bare(api);
  const six = { address: "2001:db8::9", protocol_port: 80 };
  const refusals: Refusal[] = [];
  for (const protocol of IN_KERNEL) {
    const { id: pool_id } = await api.create("pool", "/pools", aPool(lb, protocol));
    const members = `/pools/${pool_id}/members`;
    refusals.push(
      [400, "attribute address.", "POST", members, "member", six],
      [400, "attribute address.", "PUT", members, "members", [six]],
    );
    const head = { ...CHECK, type: "HTTP", http_method: "HEAD", pool_id };
    const { id: empty } = await api.create("pool", "/pools", aPool(lb, protocol));
    refusals.push([
      400,
      "attribute http_method.",
      "POST",
      "/healthmonitors",
      "healthmonitor",
      { ...head, pool_id: empty },
    ]);
    const { id } = await api.create("healthmonitor", "/healthmonitors", { ...head, http_method: "GET" });
    refusals.push([
      400,
      "attribute http_method.",
      "PUT",
      `/healthmonitors/${id}`,
      "healthmonitor",
      { http_method: "HEAD" },
    ]);
    const default_pool = aPool(lb, protocol, { members: [six] });
    delete default_pool.loadbalancer_id;
    const listeners = [{ protocol, protocol_port: 80, default_pool }];
    refusals.push([
      400,
      "listeners[0].default_pool.members[0]",
      "POST",
      "/loadbalancers",
      "loadbalancer",
      { listeners },
    ]);
  }
  await api.reconciler.settle();
  await expectRefused(t, api, refusals);
});

t.test("each protocol has its types of persistence, and these their attributes", async (t) => {
  const api = await startApi(t, SQLITE);
  const lb = await bare(api);
  for (const protocol of POOL_PROTOCOLS) {
    const { id } = await api.create("pool", "/pools", aPool(lb, protocol));
    const expect = async (fits: boolean, session_persistence: Json, named: string) => {
      const answers = {
        made: await api.call("POST", "/pools", { pool: aPool(lb, protocol, { session_persistence }) }),
        changed: await api.call("PUT", `/pools/${id}`, { pool: { session_persistence } }),
      };
      for (const [what, answer] of Object.entries(answers)) {
        const wanted = what === "made" ? 201 : 202;
        t.equal(answer.status, fits ? wanted : 400, `${what}: ${protocol} ${JSON.stringify(session_persistence)}`);
        if (!fits) t.match(answer.body.faultstring, `session_persistence.${named}`);
      }
    };
    const seesCookies = ["HTTP", "PROXY", "PROXYV2"].includes(protocol);
    for (const type of SESSION_PERSISTENCE_TYPES) {
      const named = type === "APP_COOKIE" ? { cookie_name: "JSESSIONID" } : {};
      await expect(type === "SOURCE_IP" || seesCookies, { type, ...named }, "type");
    }
    const inKernel = IN_KERNEL.includes(protocol);
    await expect(inKernel, { type: "SOURCE_IP", persistence_timeout: 60 }, "persistence_timeout");
    await expect(inKernel, { type: "SOURCE_IP", persistence_granularity: "255.255.0.0" }, "persistence_granularity");
    await expect(false, { type: "SOURCE_IP", cookie_name: "x" }, "cookie_name");
    if (!seesCookies) continue;
    await expect(false, { type: "APP_COOKIE" }, "cookie_name");
    await expect(false, { type: "HTTP_COOKIE", cookie_name: "x" }, "cookie_name");
  }
});

t.test("each protocol has its types of health monitors", async (t) => {
  const api = await startApi(t, SQLITE);
  const lb = await bare(api);
  for (const protocol of POOL_PROTOCOLS) {
    const { id } = await api.create("pool", "/pools", aPool(lb, protocol));
    for (const type of HEALTH_MONITOR_TYPES) {
      const answer = await api.call("POST", "/healthmonitors", { healthmonitor: { ...CHECK, type, pool_id: id } });
      const fits = MONITORS[protocol].includes(type);
      t.equal(answer.status, fits ? 201 : 400, `${protocol} ${type}: ${answer.text}`);
      if (!fits) t.match(answer.body.faultstring, /attribute type\./);
      else await api.call("DELETE", `/healthmonitors/${object(answer, "healthmonitor").id}`);
    }
  }
});

t.test("what a check by HTTP is like is for monitors that speak it", async (t) => {
  const api = await startApi(t, SQLITE);
  const lb = await bare(api);
  const speaking = {
    http_method: "HEAD",
    url_path: "/up",
    expected_codes: "204",
    http_version: 1.1,
    domain_name: "example.org",
  };
  const refusals: Refusal[] = [];
  for (const type of HEALTH_MONITOR_TYPES) {
    const protocol = type === "UDP-CONNECT" ? "UDP" : type === "SCTP" ? "SCTP" : "HTTP";
    const { id: pool_id } = await api.create("pool", "/pools", aPool(lb, protocol));
    const values = { ...CHECK, type, pool_id };
    const speaks = type === "HTTP" || type === "HTTPS";
    const nothing = Object.fromEntries(Object.keys(speaking).map((name) => [name, null]));
    const given = speaks ? speaking : nothing;
    const { id, ...made } = await api.create("healthmonitor", "/healthmonitors", { ...values, ...given });
    t.match(made, given, type);
    const { id: empty } = await api.create("pool", "/pools", aPool(lb, protocol));
    for (const [name, value] of Object.entries(speaks ? {} : speaking)) {
      const attribute = { [name]: value };
      refusals.push([
        400,
        name,
        "POST",
        "/healthmonitors",
        "healthmonitor",
        { ...values, pool_id: empty, ...attribute },
      ]);
      refusals.push([400, name, "PUT", `/healthmonitors/${id}`, "healthmonitor", attribute]);
    }
    if (!speaks) continue;
    // a Host header is HTTP/1.1's
    const old = { domain_name: "example.org", http_version: 1.0 };
    const needed = "domain_name";
    refusals.push(
      [400, needed, "POST", "/healthmonitors", "healthmonitor", { ...values, pool_id: empty, ...old }],
      [
        400,
        needed,
        "POST",
        "/healthmonitors",
        "healthmonitor",
        { ...values, pool_id: empty, ...old, http_version: null },
      ],
      [400, needed, "PUT", `/healthmonitors/${id}`, "healthmonitor", { http_version: 1.0 }],
      [400, needed, "PUT", `/healthmonitors/${id}`, "healthmonitor", { http_version: null }],
    );
  }
  await api.reconciler.settle();
  await expectRefused(t, api, refusals);
});

t.test("members are spoken to over TLS where HAProxy does it", async (t) => {
  const api = await startApi(t, SQLITE, { readsCertificates: false });
  const lb = await bare(api);
  const refs = { tls_container_ref: randomUUID(), ca_tls_container_ref: randomUUID(), crl_container_ref: randomUUID() };
  const refusals: Refusal[] = [];
  for (const protocol of POOL_PROTOCOLS) {
    const { id, ...plain } = await api.create("pool", "/pools", aPool(lb, protocol));
    t.match(plain, { tls_enabled: false, tls_versions: null, tls_ciphers: null, alpn_protocols: null });
    const change = (named: string, values: Json): Refusal => [400, named, "PUT", `/pools/${id}`, "pool", values];
    const make = (named: string, values: Json): Refusal => {
      return [400, named, "POST", "/pools", "pool", aPool(lb, protocol, values)];
    };
    const without = { crl_container_ref: randomUUID() };
    if (IN_KERNEL.includes(protocol)) {
      const given = {
        tls_enabled: true,
        tls_container_ref: randomUUID(),
        ca_tls_container_ref: randomUUID(),
        tls_ciphers: "HIGH",
      };
      for (const [name, value] of Object.entries({ ...given, tls_versions: ["TLSv1.3"], alpn_protocols: ["h2"] })) {
        refusals.push(change(`attribute ${name}.`, { [name]: value }), make(`attribute ${name}.`, { [name]: value }));
      }
    } else {
      const whole = { tls_enabled: true, ...refs, tls_ciphers: "HIGH", alpn_protocols: ["h2"] };
      const made = await api.create("pool", "/pools", aPool(lb, protocol, whole));
      t.match(made, { ...whole, tls_versions: ["TLSv1.2", "TLSv1.3"] });
      refusals.push([400, "crl_container_ref", "PUT", `/pools/${made.id}`, "pool", { ca_tls_container_ref: null }]);
      const old = { tls_ciphers: "TLS_AES_128_GCM_SHA256", tls_versions: ["TLSv1.2"] };
      refusals.push(change("attribute tls_ciphers.", old), make("attribute tls_ciphers.", old));
    }
    refusals.push(change("crl_container_ref", without), make("crl_container_ref", without));
  }
  await api.reconciler.settle();
  await expectRefused(t, api, refusals);
});
