/** What goes with which protocol of a listener: ports, pools, TLS, headers, redirects; and whom it lets in. */
import { randomUUID } from "node:crypto";
import t from "tap";
import {
  INSERT_HEADERS,
  LISTENER_PROTOCOLS,
  type ListenerProtocol,
  POOL_PROTOCOLS,
  type PoolProtocol,
} from "../../templates/fields.ts";
import { type Json, object, SUBNETS, startApi, type TestApi } from "../support/api.ts";
import { expectRefused, type Refusal } from "../support/api-refusals.ts";
import { databases, SQLITE } from "../support/postgres.ts";

const CERTIFICATE = randomUUID();
const [CA, CRL] = [randomUUID(), randomUUID()];
const TLS = { default_tls_container_ref: CERTIFICATE };
const nobody = randomUUID();

/** As Octavia's API has it, and FORWARD_TCP. */
const POOLS: Readonly<Record<ListenerProtocol, readonly PoolProtocol[]>> = {
  HTTP: ["HTTP", "PROXY", "PROXYV2"],
  HTTPS: ["HTTPS", "PROXY", "PROXYV2", "TCP"],
  TCP: ["HTTP", "HTTPS", "PROXY", "PROXYV2", "TCP"],
  TERMINATED_HTTPS: ["HTTP", "PROXY", "PROXYV2"],
  FORWARD_TCP: ["FORWARD_TCP"],
  UDP: ["UDP"],
  SCTP: ["SCTP"],
  PROMETHEUS: [],
};

let port = 1;

/** A listener as it is created, each on a port of its own. */
function aListener(loadbalancer_id: string, protocol: ListenerProtocol, values: Json = {}): Json {
  return {
    loadbalancer_id,
    protocol,
    protocol_port: port++,
    ...(protocol === "TERMINATED_HTTPS" ? TLS : {}),
    ...values,
  };
}

async function bare(api: TestApi, values: Json = {}): Promise<string> {
  return (await api.create("loadbalancer", "/loadbalancers", values)).id;
}

for (const database of databases(t)) {
  t.test(`${database.name}: TLS has its defaults where it terminates, and is nothing anywhere else`, async (t) => {
    const api = await startApi(t, database, { readsCertificates: false });
    const lb = await bare(api);
    const defaults = {
      tls_versions: ["TLSv1.2", "TLSv1.3"],
      alpn_protocols: ["h2", "http/1.1", "http/1.0"],
      tls_ciphers:
        "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:DHE-RSA-AES256-GCM-SHA384:" +
        "DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-SHA256:" +
        "DHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256",
    };
    const nothing = { tls_versions: null, alpn_protocols: null, tls_ciphers: null };
    const own = { tls_versions: ["TLSv1.3"], alpn_protocols: ["http/1.1"], tls_ciphers: "HIGH:!aNULL" };
    for (const protocol of LISTENER_PROTOCOLS) {
      const wanted = protocol === "TERMINATED_HTTPS" ? defaults : nothing;
      t.match(await api.create("listener", "/listeners", aListener(lb, protocol)), wanted, protocol);
      const told = aListener(lb, protocol, { ...nothing, client_authentication: null, sni_container_refs: [] });
      t.match(await api.create("listener", "/listeners", told), { ...wanted, client_authentication: "NONE" });
    }
    const { id } = await api.create("listener", "/listeners", aListener(lb, "TERMINATED_HTTPS", own));
    const update = async (listener: Json) => {
      await api.call("PUT", `/listeners/${id}`, { listener });
      return api.show("listener", `/listeners/${id}`);
    };
    t.match(await update({}), own);
    t.match(await update({ tls_ciphers: null }), { ...own, tls_ciphers: defaults.tls_ciphers });
    t.match(await update(nothing), defaults);
  });

  t.test(
    `${database.name}: an HTTP listener redirects to one of the same load balancer that terminates TLS`,
    async (t) => {
      const api = await startApi(t, database, { readsCertificates: false });
      const lb = await bare(api);
      const other = await bare(api);
      const [secure, foreign] = [
        await api.create("listener", "/listeners", aListener(lb, "TERMINATED_HTTPS")),
        await api.create("listener", "/listeners", aListener(other, "TERMINATED_HTTPS")),
      ];
      const plain = await api.create("listener", "/listeners", aListener(lb, "HTTP"));
      const to = { redirect_listener_id: secure.id };
      const redirecting = await api.create("listener", "/listeners", aListener(lb, "HTTP", to));
      t.match(redirecting, to);
      await api.reconciler.settle();
      const named = "redirect_listener_id";
      const target = (id: string): Refusal[] => [
        [400, named, "POST", "/listeners", "listener", aListener(lb, "HTTP", { redirect_listener_id: id })],
        [400, named, "PUT", `/listeners/${plain.id}`, "listener", { redirect_listener_id: id }],
      ];
      await expectRefused(t, api, [
        ...[foreign.id, redirecting.id, plain.id, nobody].flatMap(target),
        ...LISTENER_PROTOCOLS.filter((each) => each !== "HTTP").map((protocol): Refusal => {
          return [400, named, "POST", "/listeners", "listener", aListener(lb, protocol, to)];
        }),
        [409, redirecting.id, "DELETE", `/listeners/${secure.id}`],
      ]);
      const answer = await api.call("PUT", `/listeners/${redirecting.id}`, {
        listener: { redirect_listener_id: null },
      });
      t.equal(object(answer, "listener").redirect_listener_id, null);
      t.equal((await api.call("DELETE", `/listeners/${secure.id}`)).status, 204, "nobody redirects to it any more");
      t.equal((await api.call("DELETE", `/loadbalancers/${lb}?cascade=true`)).status, 204);
    },
  );
}

t.test("a port is for one listener of each transport protocol", async (t) => {
  const api = await startApi(t, SQLITE, { readsCertificates: false });
  const lb = await bare(api);
  const transport = (protocol: ListenerProtocol) => (protocol === "UDP" || protocol === "SCTP" ? protocol : "TCP");
  for (const first of ["HTTP", "UDP", "SCTP"] as const) {
    for (const second of LISTENER_PROTOCOLS) {
      const { protocol_port } = await api.create("listener", "/listeners", aListener(lb, first));
      const answer = await api.call("POST", "/listeners", { listener: aListener(lb, second, { protocol_port }) });
      const taken = transport(first) === transport(second);
      t.equal(answer.status, taken ? 409 : 201, `${second} beside ${first}`);
      if (taken) t.match(answer.body.faultstring, `already using protocol_port ${protocol_port}`);
    }
  }
  t.ok(await api.create("listener", "/listeners", aListener(await bare(api), "HTTP", { protocol_port: 1 })));
});

t.test("a listener sends to pools that speak what it understands", async (t) => {
  const api = await startApi(t, SQLITE, { readsCertificates: false });
  const lb = await bare(api);
  const pools: [PoolProtocol, string][] = [];
  for (const protocol of POOL_PROTOCOLS) {
    const pooling = { loadbalancer_id: lb, protocol, lb_algorithm: "ROUND_ROBIN" };
    pools.push([protocol, (await api.create("pool", "/pools", pooling)).id]);
  }
  for (const listening of LISTENER_PROTOCOLS) {
    const { id } = await api.create("listener", "/listeners", aListener(lb, listening));
    for (const [protocol, default_pool_id] of pools) {
      const fits = POOLS[listening].includes(protocol);
      const expect = async (wanted: number, what: string, method: string, path: string, body: Json) => {
        const answer = await api.call(method, path, body);
        t.equal(answer.status, fits ? wanted : 400, `${listening} ${what} ${protocol}: ${answer.text}`);
        if (!fits) t.match(answer.body.faultstring, `'${protocol}' is invalid`);
        if (fits) await api.call("PUT", `/listeners/${id}`, { listener: { default_pool_id: null } });
      };
      const own = { listener_id: id, protocol, lb_algorithm: "ROUND_ROBIN" };
      await expect(201, "made with", "POST", "/listeners", { listener: aListener(lb, listening, { default_pool_id }) });
      await expect(202, "given", "PUT", `/listeners/${id}`, { listener: { default_pool_id } });
      await expect(201, "with an own", "POST", "/pools", { pool: own });
      if (listening !== "HTTP" && listening !== "TERMINATED_HTTPS") continue;
      const l7policy = { listener_id: id, action: "REDIRECT_TO_POOL", redirect_pool_id: default_pool_id };
      await expect(201, "redirecting to", "POST", "/l7policies", { l7policy });
    }
  }
});

t.test("TLS where it does not terminate, or that lacks something, is refused", async (t) => {
  const api = await startApi(t, SQLITE, { readsCertificates: false });
  const lb = await bare(api);
  const attributes: Json = {
    default_tls_container_ref: CERTIFICATE,
    sni_container_refs: [CERTIFICATE],
    client_ca_tls_container_ref: CA,
    client_crl_container_ref: CRL,
    client_authentication: "OPTIONAL",
    tls_ciphers: "HIGH",
    tls_versions: ["TLSv1.3"],
    alpn_protocols: ["h2"],
    hsts_max_age: 60,
    hsts_include_subdomains: true,
    hsts_preload: true,
  };
  const refusals: Refusal[] = [];
  for (const protocol of LISTENER_PROTOCOLS.filter((each) => each !== "TERMINATED_HTTPS")) {
    const { id } = await api.create("listener", "/listeners", aListener(lb, protocol));
    for (const [name, value] of Object.entries(attributes)) {
      const named = `attribute ${name}.`;
      refusals.push([400, named, "POST", "/listeners", "listener", aListener(lb, protocol, { [name]: value })]);
      refusals.push([400, named, "PUT", `/listeners/${id}`, "listener", { [name]: value }]);
    }
  }
  const make = (named: string, values: Json): Refusal => {
    return [400, named, "POST", "/listeners", "listener", aListener(lb, "TERMINATED_HTTPS", values)];
  };
  const whole = {
    client_ca_tls_container_ref: CA,
    client_authentication: "MANDATORY",
    client_crl_container_ref: CRL,
  };
  const { id } = await api.create("listener", "/listeners", aListener(lb, "TERMINATED_HTTPS", whole));
  const change = (named: string, values: Json): Refusal => [400, named, "PUT", `/listeners/${id}`, "listener", values];
  await api.reconciler.settle();
  await expectRefused(t, api, [
    ...refusals,
    make("default_tls_container_ref, sni_container_refs", { default_tls_container_ref: null }),
    make("client_authentication", { client_authentication: "OPTIONAL" }),
    make("attribute tls_ciphers.", { tls_ciphers: "TLS_AES_128_GCM_SHA256", tls_versions: ["TLSv1.2"] }),
    change("attribute tls_ciphers.", { tls_ciphers: "TLS_AES_128_GCM_SHA256", tls_versions: ["TLSv1.1", "TLSv1.2"] }),
    make("client_crl_container_ref", { client_crl_container_ref: CRL }),
    change("default_tls_container_ref, sni_container_refs", { default_tls_container_ref: null }),
    change("client_authentication", { client_ca_tls_container_ref: null }),
    change("client_crl_container_ref", { client_ca_tls_container_ref: null, client_authentication: "NONE" }),
  ]);
  const sni = { default_tls_container_ref: null, sni_container_refs: [CERTIFICATE, randomUUID()] };
  t.equal((await api.call("PUT", `/listeners/${id}`, { listener: sni })).status, 202, "one of both is enough");
});

t.test("a listener inserts the headers that it can know", async (t) => {
  const api = await startApi(t, SQLITE, { readsCertificates: false });
  const lb = await bare(api);
  for (const protocol of LISTENER_PROTOCOLS) {
    for (const [name, { tls }] of Object.entries(INSERT_HEADERS)) {
      const can = protocol === "TERMINATED_HTTPS" || (protocol === "HTTP" && !tls);
      const listener = aListener(lb, protocol, { insert_headers: { [name]: "true" } });
      const answer = await api.call("POST", "/listeners", { listener });
      t.equal(answer.status, can ? 201 : 400, `${protocol} ${name}`);
      if (!can) t.match(answer.body.faultstring, "attribute insert_headers.");
    }
  }
  const given = { "X-Forwarded-For": true, "X-Forwarded-Port": "True", "X-Forwarded-Proto": "false" };
  const kept = { "X-Forwarded-For": "true", "X-Forwarded-Port": "true", "X-Forwarded-Proto": "false" };
  const { id, insert_headers } = await api.create(
    "listener",
    "/listeners",
    aListener(lb, "HTTP", { insert_headers: given }),
  );
  t.strictSame(insert_headers, kept);
  const changed = await api.call("PUT", `/listeners/${id}`, {
    listener: { insert_headers: { "X-Forwarded-For": "true" } },
  });
  t.strictSame(
    object(changed, "listener").insert_headers,
    { "X-Forwarded-For": "true" },
    "the whole of it is replaced",
  );
  const cleared = await api.call("PUT", `/listeners/${id}`, { listener: { insert_headers: null } });
  t.strictSame(object(cleared, "listener").insert_headers, {});
});

t.test("a listener lets in prefixes of the families that its load balancer has", async (t) => {
  const api = await startApi(t, SQLITE, { readsCertificates: false });
  const four = await bare(api);
  const six = await bare(api, { vip_subnet_id: SUBNETS.six.id });
  const prefixes = { four: ["192.0.2.0/24", "0.0.0.0/0"], six: ["2001:db8::/32", "::/0"] };
  for (const [lb, allowed_cidrs, fits] of [
    [four, prefixes.four, true],
    [four, prefixes.six, false],
    [four, [...prefixes.four, ...prefixes.six], false],
    [six, prefixes.six, true],
    [six, prefixes.four, false],
  ] as const) {
    const listening = aListener(lb, "TCP");
    const made = await api.call("POST", "/listeners", { listener: { ...listening, allowed_cidrs } });
    t.equal(made.status, fits ? 201 : 400, allowed_cidrs.join());
    const { id } = await api.create("listener", "/listeners", aListener(lb, "TCP"));
    const changed = await api.call("PUT", `/listeners/${id}`, { listener: { allowed_cidrs } });
    t.equal(changed.status, fits ? 202 : 400, allowed_cidrs.join());
    for (const answer of [made, changed]) {
      if (fits) t.strictSame(object(answer, "listener").allowed_cidrs, allowed_cidrs);
      else t.match(answer.body.faultstring, "attribute allowed_cidrs.");
    }
    for (const nobodyInParticular of [[], null]) {
      const answer = await api.call("PUT", `/listeners/${id}`, { listener: { allowed_cidrs: nobodyInParticular } });
      t.equal(object(answer, "listener").allowed_cidrs, null, "everybody is let in");
    }
  }
});
