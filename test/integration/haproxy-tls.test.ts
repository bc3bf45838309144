/** TERMINATED_HTTPS listeners: which certificate, to whom, over which TLS, and what members are told of clients. */
import { type SecureVersion, connect as tlsConnect } from "node:tls";
import type { Test } from "tap";
import { startAgent } from "../support/agent.ts";
import { onEachRelease } from "../support/haproxy-releases.ts";
import { type Call, call, call2, handshake, Upstream } from "../support/http.ts";
import { type Pair, TestAuthority } from "../support/pki.ts";
import { idOf, type ListenerInput, listener, member, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec, VIP } from "../support/tenant.ts";

type Tls = NonNullable<ListenerInput["tls"]>;
type Policy = NonNullable<ListenerInput["l7policies"]>[number];

onEachRelease("TERMINATED_HTTPS", serving, {
  "the certificate of the name that the client asks for, or else the first one": async (t, site) => {
    await site.apply([onPort(443, { certificate_ids: [idOf("certificate", 1), idOf("certificate", 2)] })]);
    for (const [servername, server] of [
      ["a.example", "a.example"],
      ["b.example", "b.example"],
      ["x.wild.example", "b.example"],
      ["unknown.example", "a.example"],
      ["", "a.example"],
    ] as const) {
      const { secured, status } = await site.get({ tls: { servername, checkServerIdentity: () => undefined } });
      t.match({ secured, status }, { secured: { server }, status: 200 }, servername || "no name");
    }
  },

  "TLSv1.2 and TLSv1.3 unless said otherwise, and only what is said": async (t, site) => {
    const versions = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"] as const;
    await site.apply([
      onPort(443),
      onPort(1001, { versions: ["TLSv1.3"] }),
      onPort(1002, { versions: ["TLSv1.2"] }),
      onPort(1003, { versions: ["SSLv3", "TLSv1", "TLSv1.1"] }),
      onPort(1004, { versions: ["TLSv1.1", "TLSv1.2", "TLSv1.3"], ciphers: "ECDHE-ECDSA-AES128-SHA" }),
      onPort(1005, { ciphers: "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256" }),
    ]);
    const spoken = async (port: number) => {
      const found = await Promise.all(versions.map((version) => site.speaks(port, version)));
      return versions.filter((_, i) => found[i]);
    };
    t.strictSame(await spoken(443), ["TLSv1.2", "TLSv1.3"]);
    t.strictSame(await spoken(1001), ["TLSv1.3"]);
    t.strictSame(await spoken(1002), ["TLSv1.2"]);
    t.strictSame(await spoken(1003), ["TLSv1", "TLSv1.1"]);
    t.strictSame(await spoken(1004), ["TLSv1.1", "TLSv1.2", "TLSv1.3"]);
    t.strictSame(await spoken(1005), ["TLSv1.3"], "a list of suites alone leaves the versions before without a cipher");
  },

  "ciphers, of both kinds in one list": async (t, site) => {
    const ciphers = "TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305";
    await site.apply([onPort(443, { ciphers })]);
    const cipher = async (maxVersion: SecureVersion) => (await site.get({ tls: { maxVersion } })).secured?.cipher;
    t.equal(await cipher("TLSv1.3"), "TLS_CHACHA20_POLY1305_SHA256");
    t.match(await cipher("TLSv1.2"), /^ECDHE-ECDSA-(AES256-GCM-SHA384|CHACHA20-POLY1305)$/);
    const other = { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" } as const;
    await t.rejects(site.get({ tls: other }), "a cipher that is not in the list");
  },

  "HTTP/2 where ALPN agrees on it": async (t, site) => {
    await site.apply([
      onPort(443),
      onPort(1001, { alpn_protocols: ["http/1.1"] }),
      onPort(1002, { alpn_protocols: ["http/1.1", "h2"] }),
    ]);
    const both = ["h2", "http/1.1"];
    t.equal(await site.agreed(443, both), "h2");
    t.equal(await site.agreed(443, ["http/1.1"]), "http/1.1");
    t.equal(await site.agreed(443, []), false);
    t.equal(await site.agreed(1001, both), "http/1.1");
    t.equal(await site.agreed(1002, both), "http/1.1", "the listener's order is the one that counts");
    const { status, seen } = await call2({ tls: site.tls, path: "/x?y", headers: { "x-a": "b" } });
    t.match({ status, seen }, { status: 200, seen: { url: "/x?y", headers: { "x-a": "b" } } });
  },

  "clients' certificates: none, some, or all must show one that verifies": async (t, site) => {
    const { ca, good, revoked, foreign } = site.clients;
    const tls = { client_ca: ca.certificate, client_crl: await ca.revoke(revoked) };
    await site.apply([
      onPort(1001, { ...tls, client_authentication: "NONE" }),
      onPort(1002, { ...tls, client_authentication: "OPTIONAL" }),
      onPort(1003, { ...tls, client_authentication: "MANDATORY" }),
    ]);
    const answers = async (port: number) =>
      Promise.all([null, good, revoked, foreign].map((client) => site.admits(port, client)));
    t.strictSame(await answers(1001), [true, true, true, true], "NONE");
    t.strictSame(await answers(1002), [true, true, false, false], "OPTIONAL");
    t.strictSame(await answers(1003), [false, true, false, false], "MANDATORY");
  },

  "rules on clients' certificates": async (t, site) => {
    const { ca, good, revoked, foreign } = site.clients;
    const tls = {
      client_ca: ca.certificate,
      client_crl: await ca.revoke(revoked),
      client_authentication: "OPTIONAL",
    } as const;
    const withCert = { type: "SSL_CONN_HAS_CERT", compare_type: "EQUAL_TO", value: "True" } as const;
    const named = { type: "SSL_DN_FIELD", key: "CN", compare_type: "EQUAL_TO", value: "alice" } as const;
    const wrong = { type: "SSL_VERIFY_RESULT", compare_type: "EQUAL_TO", value: "0", invert: true } as const;
    await site.apply([
      { ...onPort(1001, tls), l7policies: [reject(1, withCert)] },
      { ...onPort(1002, tls), l7policies: [reject(2, named)] },
      { ...onPort(1003, tls), l7policies: [reject(3, wrong)] },
      {
        ...onPort(1004, tls),
        l7policies: [reject(4, { ...named, invert: true }), reject(5, { ...wrong, value: "18", invert: false })],
      },
    ]);
    const statuses = async (port: number) => {
      const asked = [null, good, revoked, foreign].map((client) =>
        site.as(client, { port }).catch(() => ({ status: 0 })),
      );
      return (await Promise.all(asked)).map(({ status }) => status);
    };
    t.strictSame(await statuses(1001), [200, 403, 0, 0], "SSL_CONN_HAS_CERT");
    t.strictSame(await statuses(1002), [200, 403, 0, 0], "SSL_DN_FIELD");
    t.strictSame(
      await statuses(1003),
      [200, 200, 403, 403],
      "SSL_VERIFY_RESULT lets wrong certificates in, to be judged",
    );
    // the foreign certificate names alice, too
    t.strictSame(await statuses(1004), [403, 200, 403, 403], "and what they say of their holder is not believed");
  },

  "members are told of the client's certificate, and only of one that verifies": async (t, site) => {
    const { ca, good, foreign } = site.clients;
    const insert_headers = [
      "X-Forwarded-For",
      "X-Forwarded-Proto",
      "X-Forwarded-Port",
      "X-SSL-Client-Verify",
      "X-SSL-Client-Has-Cert",
      "X-SSL-Client-DN",
      "X-SSL-Client-CN",
      "X-SSL-Issuer",
      "X-SSL-Client-SHA1",
      "X-SSL-Client-Not-Before",
      "X-SSL-Client-Not-After",
    ] as const;
    const tls = { client_ca: ca.certificate, client_authentication: "OPTIONAL" } as const;
    await site.apply([{ ...onPort(443, tls), insert_headers: [...insert_headers] }]);
    const headers = Object.fromEntries(insert_headers.slice(1).map((name) => [name, "forged"]));
    const told = async (client: Pair | null) => (await site.as(client, { headers })).seen?.headers ?? {};

    const verified = await told(good);
    t.match(verified, {
      "x-forwarded-for": "10.77.0.1",
      "x-forwarded-proto": "https",
      "x-forwarded-port": "443",
      "x-ssl-client-verify": "0",
      "x-ssl-client-has-cert": "1",
      "x-ssl-client-dn": '/C=CH/O=Quotes "R" Us/CN=alice',
      "x-ssl-client-cn": "alice",
      "x-ssl-issuer": "/CN=clients",
      "x-ssl-client-sha1": /^[0-9A-F]{40}$/,
      "x-ssl-client-not-before": /^\d{12}Z$/,
      "x-ssl-client-not-after": /^\d{12}Z$/,
    });
    for (const [what, client, verify, has] of [
      ["none", null, "0", "0"],
      ["a foreign one", foreign, /^[1-9]\d*$/, "1"],
    ] as const) {
      const seen = await told(client);
      t.match(seen, { "x-ssl-client-verify": verify, "x-ssl-client-has-cert": has }, what);
      t.notMatch(JSON.stringify(seen), /forged|alice/, what);
    }
  },

  "Strict-Transport-Security on every answer, HAProxy's own among them": async (t, site) => {
    const full = { hsts_max_age: 3600, hsts_include_subdomains: true, hsts_preload: true };
    const toElsewhere = { id: idOf("policy"), action: "REDIRECT_TO_URL", redirect_url: "http://x.example/" } as const;
    const rules = [{ id: idOf("rule"), type: "PATH", compare_type: "EQUAL_TO", value: "/away" } as const];
    await site.apply([
      { ...onPort(443, full), l7policies: [{ ...toElsewhere, rules }] },
      onPort(1001, { hsts_max_age: 0 }),
      { ...onPort(1002, { hsts_max_age: 5 }), default_pool_id: null },
      onPort(1003),
    ]);
    const hsts = async (options: Call) => {
      const { status, headers } = await site.get(options);
      return [status, headers["strict-transport-security"]];
    };
    t.strictSame(await hsts({}), [200, "max-age=3600; includeSubDomains; preload"]);
    t.strictSame(await hsts({ path: "/away" }), [302, "max-age=3600; includeSubDomains; preload"]);
    t.strictSame(await hsts({ port: 1001 }), [200, "max-age=0"]);
    t.strictSame(await hsts({ port: 1002 }), [503, "max-age=5"]);
    t.strictSame(await hsts({ port: 1003 }), [200, undefined]);
  },

  "a certificate is replaced in the running worker": async (t, site) => {
    await site.apply([onPort(443)]);
    const before = await site.agent.haproxy();
    const replaced = await site.servers.issue("CN=renewed.example", ["a.example"], "RSA");
    t.equal((await site.apply([onPort(443)], replaced)).how, "runtime");
    const shown = async () => (await site.get({})).secured?.server;
    t.equal(await shown(), "renewed.example");
    t.equal((await site.agent.haproxy()).worker, before.worker, "the worker is the same");
    t.equal((await site.apply([onPort(443), onPort(444)], replaced)).how, "reload");
    t.equal(await shown(), "renewed.example", "and the next one has it, too");
  },

  "a certificate too large for HAProxy's command line takes a reload": async (t, site) => {
    await site.apply([onPort(443)]);
    const pair = await site.servers.issue("CN=long.example", ["a.example"]);
    const certificate = pair.certificate + site.servers.certificate.repeat(40);
    t.equal((await site.apply([onPort(443)], { ...pair, certificate })).how, "reload");
    t.equal((await site.get({})).secured?.server, "long.example");
  },

  "what can't be used is refused by its name, and changes nothing": async (t, site) => {
    await site.apply([onPort(443)]);
    const [one, other] = [await site.servers.issue("CN=x"), await site.servers.issue("CN=y")];
    const garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const nothing = garbage.replaceAll("CERTIFICATE", "X509 CRL");
    const client = { client_authentication: "OPTIONAL", client_ca: site.clients.ca.certificate } as const;
    for (const [what, listeners, pair, path] of [
      ["another's key", [onPort(443)], { ...one, private_key: other.private_key }, "certificates[0].private_key"],
      ["garbage", [onPort(443)], { ...one, certificate: garbage }, "certificates[0].certificate"],
      [
        "garbage after it",
        [onPort(443)],
        { ...one, certificate: one.certificate + garbage },
        "certificates[0].certificate",
      ],
      [
        "garbage for a key",
        [onPort(443)],
        { ...one, private_key: garbage.replaceAll("CERTIFICATE", "PRIVATE KEY") },
        "certificates[0].private_key",
      ],
      ["garbage for an authority", [onPort(443, { ...client, client_ca: garbage })], one, "listeners[0].tls.client_ca"],
      ["garbage for a CRL", [onPort(443, { ...client, client_crl: nothing })], one, "listeners[0]"],
    ] as const) {
      const { status, problems } = await site.refused([...listeners], pair);
      t.strictSame([status, problems.map((each) => each.path)], [422, [path]], what);
      t.equal((await site.get({})).secured?.server, "a.example", "served as before");
    }
  },
});

/** On this port, with the first certificate. */
function onPort(protocol_port: number, tls: Partial<Tls> = {}): ListenerInput {
  const all = { certificate_ids: [idOf("certificate", 1)], ...tls };
  return listener(protocol_port, { protocol_port, protocol: "TERMINATED_HTTPS", tls: all });
}

function reject(number: number, fields: Omit<NonNullable<Policy["rules"]>[number], "id">): Policy {
  return { id: idOf("policy", number), action: "REJECT", rules: [{ id: idOf("rule", number), ...fields }] };
}

/** An agent, a member, two certificates, and clients' certificates of each kind. */
async function serving(t: Test, haproxy: string) {
  const agent = await startAgent(t, { haproxy });
  await plugTenant(t);
  await Upstream.start(t, "a", "10.77.0.21");
  const servers = await TestAuthority.make("servers");
  const pairs = [
    await servers.issue("CN=a.example", ["a.example"]),
    await servers.issue("CN=b.example", ["b.example", "*.wild.example"], "RSA"),
  ];
  const ca = await TestAuthority.make("clients");
  const clients = {
    ca,
    good: await ca.issue('C=CH,O="Quotes \\"R\\" Us",CN=alice'),
    revoked: await ca.issue("CN=bob"),
    foreign: await (await TestAuthority.make("clients")).issue("CN=alice"),
  };
  let revision = 0;
  const next = (listeners: ListenerInput[], first?: Omit<Pair, "serial">) =>
    tenantSpec(agent, ++revision, {
      certificates: [first ?? pairs[0], pairs[1]].flatMap((pair, i) =>
        pair === undefined
          ? []
          : { id: idOf("certificate", i + 1), certificate: pair.certificate, private_key: pair.private_key },
      ),
      listeners,
      pools: [pool(1, [member(1)])],
    });
  const tls = { ca: servers.certificate, servername: "a.example", checkServerIdentity: () => undefined };
  const get = (options: Call) => call({ ...options, tls: { ...tls, ...options.tls } });
  const as = (client: Pair | null, options: Call) =>
    get({ ...options, tls: client === null ? {} : { cert: client.certificate, key: client.private_key } });
  return {
    agent,
    servers,
    clients,
    tls,
    get,
    as,
    apply: (...given: Parameters<typeof next>) => agent.apply(next(...given)),
    refused: (...given: Parameters<typeof next>) => agent.refused(next(...given)),
    /** whether a client with this certificate is served */
    admits: (port: number, client: Pair | null) =>
      as(client, { port }).then(
        ({ status }) => status === 200,
        () => false,
      ),
    speaks: async (port: number, version: SecureVersion) => {
      const options = { ...tls, port, minVersion: version, maxVersion: version, ciphers: "DEFAULT@SECLEVEL=0" };
      return (await handshake(options)) === version;
    },
    /** what ALPN comes to, for a client that offers these */
    agreed: (port: number, ALPNProtocols: string[]) =>
      new Promise((resolve, reject) => {
        const socket = tlsConnect({ host: VIP, ...tls, port, ALPNProtocols }, () => {
          resolve(socket.alpnProtocol);
          socket.destroy();
        });
        socket.on("error", reject);
      }),
  };
}
