/** Pools whose members are spoken to over TLS: whom HAProxy believes, what it shows, and which protocols it speaks. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerResponse } from "node:http2";
import type { Test } from "tap";
import { eventually, startAgent } from "../support/agent.ts";
import { onEachRelease } from "../support/haproxy-releases.ts";
import { call, call2, served, Upstream } from "../support/http.ts";
import { TestAuthority } from "../support/pki.ts";
import { idOf, listener, type MemberInput, member, monitor, type PoolInput, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec } from "../support/tenant.ts";

onEachRelease("TLS towards members", serving, {
  "is not verified without an authority, and is with one": async (t, { ca, stranger, applyAll }) => {
    const variants: [string, Tls, string][] = [
      ["no authority", {}, "a"],
      ["the authority", { ca: ca.certificate }, "a"],
      ["another authority", { ca: stranger.certificate }, "503"],
      ["an empty CRL", { ca: ca.certificate, crl: await ca.revoke() }, "a"],
      ["a CRL", { ca: ca.certificate, crl: await ca.revoke(await pairOf(ca)) }, "503"],
      ["nothing that the member speaks", { versions: ["TLSv1.1"] }, "503"],
    ];
    await applyAll(variants.map(([, tls]) => tls));
    // together: HAProxy waits a second before each of three more tries
    const answers = await Promise.all(variants.map((_, i) => served({ port: 1000 + i })));
    for (const [i, [what, , wanted]] of variants.entries()) t.equal(answers[i], wanted, what);
  },

  "shows the pool's certificate": async (t, { apply }) => {
    await apply({});
    t.equal((await call()).seen?.client, null);
    await apply({ certificate_id: idOf("certificate", 2) });
    t.equal((await call()).seen?.client, "the load balancer");
    t.notMatch((await call()).seen?.cipher, /^$/);
  },

  "versions and ciphers": async (t, { apply }) => {
    await apply({ versions: ["TLSv1.2"], ciphers: "ECDHE-ECDSA-AES256-GCM-SHA384" });
    t.equal((await call()).seen?.cipher, "ECDHE-ECDSA-AES256-GCM-SHA384");
    await apply({ ciphers: "TLS_CHACHA20_POLY1305_SHA256" });
    t.equal((await call()).seen?.cipher, "TLS_CHACHA20_POLY1305_SHA256");
  },

  "HTTP/2, where the member agrees": async (t, { apply }) => {
    await apply({});
    t.equal((await call()).seen?.httpVersion, "1.1");
    await apply({ alpn_protocols: ["h2", "http/1.1"] });
    t.equal((await call()).seen?.httpVersion, "2.0");
    await apply({ alpn_protocols: ["http/1.1"] });
    t.equal((await call()).seen?.httpVersion, "1.1");
  },

  "the member is called by the name that the client used": async (t, { ca, apply, tls }) => {
    await apply({ ca: ca.certificate });
    t.equal((await call()).seen?.servername, null, "a client without TLS has called it nothing");
    t.match((await call({ tls: { ...tls, servername: "a.example" } })).seen, { servername: "a.example" });
    t.equal(
      await served({ tls: { ...tls, servername: "other.example" } }),
      "503",
      "its certificate must hold that name",
    );
  },

  "gRPC: HTTP/2 on both sides, with trailers": async (t, { apply, tls }) => {
    await apply({ alpn_protocols: ["h2"] });
    const headers = { "content-type": "application/grpc", te: "trailers" };
    const body = "\0\0\0\0\u0005hello";
    const reply = await call2({ tls, method: "POST", path: "/test.Echo/Say", headers, body });
    t.match(reply, { status: 200, text: body, trailers: { "grpc-status": "0" } });
  },

  "checks are in TLS as well, and in HTTP/2 where members speak nothing else": async (_, site) => {
    const types = ["HTTP", "HTTPS", "TCP", "TLS-HELLO"] as const;
    const authorities = [site.ca, site.stranger];
    const variants = types.flatMap((type) => authorities.map((ca) => ({ type, ca: ca.certificate })));
    await site.applyAll(
      variants.map(({ ca }) => ({ ca, alpn_protocols: ["h2"] })),
      variants.map(({ type }, i) => ({ health_monitor: monitor({ id: idOf("monitor", i), type }) })),
    );
    const state = async (i: number) => (await site.agent.health()).pools[idOf("pool", i + 1)]?.[idOf("member", i + 1)];
    for (const [i, { type, ca }] of variants.entries()) {
      if (ca === site.stranger.certificate) await eventually(`${type}: down`, async () => (await state(i)) === "DOWN");
    }
    for (const [i, { type, ca }] of variants.entries()) {
      if (ca === site.ca.certificate) await eventually(`${type}: up`, async () => (await state(i)) === "UP");
    }
    await eventually("HTTP and HTTPS have asked more than once", async () => site.upstream.checks > 4);
  },

  "a member comes and goes at run time": async (t, site) => {
    const tls = { ca: site.ca.certificate, certificate_id: idOf("certificate", 2), alpn_protocols: ["h2" as const] };
    await site.apply(tls, { health_monitor: monitor({ type: "HTTPS" }) });
    const both = [member(1), member(2, { address: "10.77.0.22" })];
    t.equal((await site.apply(tls, { health_monitor: monitor({ type: "HTTPS" }) }, both)).how, "runtime");
    await eventually("both serve", async () => (await served()) === "b");
    t.match((await call()).seen, { client: "the load balancer", httpVersion: "2.0" });
    t.equal((await site.apply(tls, { health_monitor: monitor({ type: "HTTPS" }) })).how, "runtime");
    t.strictSame([await served(), await served()], ["a", "a"]);
  },

  "the pool's certificate is replaced in the running worker": async (t, site) => {
    await site.apply({ certificate_id: idOf("certificate", 2) });
    site.client = await site.ca.issue("CN=renewed");
    t.equal((await site.apply({ certificate_id: idOf("certificate", 2) })).how, "runtime");
    await eventually("a new connection shows it", async () => (await call()).seen?.client === "renewed");
  },
});

type Tls = NonNullable<PoolInput["tls"]>;

let leaf: Awaited<ReturnType<TestAuthority["issue"]>> | null = null;

/** The members' certificate. */
async function pairOf(ca: TestAuthority) {
  leaf ??= await ca.issue("CN=a.example", ["a.example"]);
  return leaf;
}

/** An agent with an HTTP and a TERMINATED_HTTPS listener; members a and b speak TLS 1.2 and 1.3, and ask for a certificate. */
async function serving(t: Test, haproxy: string) {
  const agent = await startAgent(t, { haproxy });
  await plugTenant(t);
  leaf = null;
  const ca = await TestAuthority.make("members");
  const stranger = await TestAuthority.make("strangers");
  const pair = await pairOf(ca);
  const options = {
    tls: {
      cert: pair.certificate,
      key: pair.private_key,
      ca: ca.certificate,
      requestCert: true,
      rejectUnauthorized: false,
    },
    answer: echoGrpc,
  };
  const upstream = await Upstream.start(t, "a", "10.77.0.21", options);
  await Upstream.start(t, "b", "10.77.0.22", options);
  let revision = 0;
  const site = {
    agent,
    upstream,
    ca,
    stranger,
    client: await ca.issue("CN=the load balancer"),
    tls: { ca: ca.certificate, servername: "a.example", checkServerIdentity: () => undefined },
    apply: (tls: Tls, changes: Partial<PoolInput> = {}, members: MemberInput[] = [member(1)]) =>
      agent.apply(
        tenantSpec(agent, ++revision, {
          certificates: [pair, site.client].map(({ certificate, private_key }, i) => ({
            id: idOf("certificate", i + 1),
            certificate,
            private_key,
          })),
          listeners: [
            listener(1),
            listener(2, {
              protocol: "TERMINATED_HTTPS",
              protocol_port: 443,
              tls: { certificate_ids: [idOf("certificate", 1)] },
            }),
          ],
          pools: [pool(1, members, { tls, ...changes })],
        }),
      ),
    /** a pool with member a for each of these, behind ports 1000, 1001, … */
    applyAll: (all: Tls[], changes: Partial<PoolInput>[] = []) =>
      agent.apply(
        tenantSpec(agent, ++revision, {
          listeners: all.map((_, i) =>
            listener(i + 1, { protocol_port: 1000 + i, default_pool_id: idOf("pool", i + 1) }),
          ),
          pools: all.map((tls, i) => pool(i + 1, [member(i + 1, { address: "10.77.0.21" })], { tls, ...changes[i] })),
        }),
      ),
  };
  return site;
}

/** Answers gRPC with what was sent, and the status in trailers, as its protocol has it over HTTP/2. */
function echoGrpc(incoming: IncomingMessage, response: ServerResponse | Http2ServerResponse): boolean {
  if (incoming.headers["content-type"] !== "application/grpc") return false;
  response.setHeader("content-type", "application/grpc");
  response.setHeader("trailer", "grpc-status");
  let body = "";
  incoming.setEncoding("utf8").on("data", (chunk: string) => {
    body += chunk;
  });
  incoming.on("end", () => {
    response.addTrailers({ "grpc-status": "0" });
    response.end(body);
  });
  return true;
}
