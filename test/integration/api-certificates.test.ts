/** Certificates that listeners and pools refer to: taken when they can be used, else refused before anything changes. */
import { randomUUID } from "node:crypto";
import t from "tap";
import { ALICE, BOB, type Json, object, objects, startApi, type TestApi } from "../support/api.ts";
import { errorProblems } from "../support/api-errors.ts";
import { ask, keyErrorProblems, replace, store, storeContainer, whole } from "../support/key-manager.ts";
import { Openssl, RSA } from "../support/openssl.ts";
import { databases, SQLITE } from "../support/postgres.ts";
import { contents } from "../support/tree.ts";

const openssl = await Openssl.make(t);
const root = await openssl.issue("/CN=root", { isAuthority: true });
const server = await openssl.issue("/CN=server", { authority: root, key: RSA });
const other = await openssl.issue("/CN=other", { authority: root });
const bundle = await openssl.bundle(server, root.certificate);
const PEM = server.certificate + server.key;

const listenerIn = (lb: string, values: Json) => ({
  listener: { loadbalancer_id: lb, protocol: "TERMINATED_HTTPS", protocol_port: 443, ...values },
});

/** Everything that may be referred to, of one project. */
async function everything(api: TestApi, token: string) {
  return {
    bundle: await store(api, bundle, { name: "bundle" }, token),
    pem: await store(api, other.certificate + other.key, {}, token),
    container: await storeContainer(
      api,
      { certificate: server.certificate, private_key: server.key, intermediates: root.certificate },
      token,
    ),
    ca: await store(api, root.certificate, {}, token),
    crl: await store(api, await openssl.revocations(root, [other]), {}, token),
  };
}

for (const database of databases(t)) {
  t.test(`${database.name}: whatever a certificate is kept in, listeners and pools can refer to it`, async (t) => {
    const api = await startApi(t, database);
    const { lb } = await api.graph(ALICE);
    const kept = await everything(api, ALICE);
    const tls = {
      default_tls_container_ref: kept.bundle,
      sni_container_refs: [kept.container, kept.pem.split("/").at(-1)],
      client_ca_tls_container_ref: kept.ca,
      client_crl_container_ref: kept.crl,
      client_authentication: "MANDATORY",
    };
    const made = await api.call("POST", "/listeners", listenerIn(lb, tls), { token: ALICE });
    t.equal(made.status, 201, made.text);
    t.match(object(made, "listener"), tls, "shown as they were given");
    const listener = String(object(made, "listener").id);
    const pool = { loadbalancer_id: lb, protocol: "HTTP", lb_algorithm: "ROUND_ROBIN", tls_enabled: true };
    const refs = { tls_container_ref: kept.pem, ca_tls_container_ref: kept.ca, crl_container_ref: kept.crl };
    const poolMade = await api.call("POST", "/pools", { pool: { ...pool, ...refs } }, { token: ALICE });
    t.match(object(poolMade, "pool"), refs, poolMade.text);
    const newer = { token: ALICE, headers: { "openstack-api-version": "key-manager 1.1" } };
    const use = (resource_type: string, resource_id: unknown) => ({
      service: "load-balancer",
      resource_type,
      resource_id,
    });
    t.strictSame((await ask(api, "GET", kept.bundle, undefined, newer)).body.consumers, [use("listener", listener)]);
    const both = [use("listener", listener), use("pool", object(poolMade, "pool").id)];
    t.strictSame((await ask(api, "GET", kept.ca, undefined, newer)).body.consumers, both);
    const { consumers } = (await ask(api, "GET", kept.container, undefined, newer)).body;
    t.strictSame(consumers, [{ name: "load-balancer", URL: `${api.base}/v2.0/lbaas/listeners/${listener}` }]);
    const listed = objects(await ask(api, "GET", "/secrets?name=bundle", undefined, newer), "secrets");
    t.match(listed, [{ consumers: [use("listener", listener)] }]);
    const patch = { listener: { default_tls_container_ref: kept.container, sni_container_refs: [] } };
    t.equal((await api.call("PUT", `/listeners/${listener}`, patch, { token: ALICE })).status, 202);
    t.strictSame((await ask(api, "GET", kept.bundle, undefined, newer)).body.consumers, [], "no longer");
    t.equal(
      (await ask(api, "DELETE", kept.container, undefined, { token: ALICE })).status,
      204,
      "also while it is used",
    );
    const rename = { listener: { name: "renamed" } };
    const renamed = await api.call("PUT", `/listeners/${listener}`, rename, { token: ALICE });
    t.equal(renamed.status, 202, "what stays as it was is not looked at again");
  });

  t.test(`${database.name}: what can't be used is refused with its attribute, and nothing changes`, async (t) => {
    const api = await startApi(t, database);
    const { lb, listener: http } = await api.graph(ALICE);
    const kept = await everything(api, ALICE);
    const keep = (payload: string | Uint8Array) => store(api, payload, {}, ALICE);
    const old = await openssl.issue("/CN=old", { authority: root, days: { from: -9, to: -1 } });
    const young = await openssl.issue("/CN=young", { authority: root, days: { from: 1, to: 9 } });
    const stranger = await openssl.issue("/CN=stranger", { isAuthority: true });
    const empty = String((await ask(api, "POST", "/secrets", {}, { token: ALICE })).body.secret_ref);
    const crlOf = async (...given: Parameters<typeof openssl.revocations>) => keep(await openssl.revocations(...given));
    const ref = "default_tls_container_ref";
    const authority = { [ref]: kept.bundle, client_ca_tls_container_ref: kept.ca };
    const missing = `http://h/v1/secrets/${randomUUID()}`;
    const cases: [values: Json, attribute: string, reason: string][] = [
      [{ [ref]: missing }, ref, `Could not retrieve certificate: ${missing} (`],
      [{ [ref]: kept.bundle.replace("secrets", "containers") }, ref, "Could not retrieve certificate: "],
      [{ [ref]: empty }, ref, "has no payload"],
      [{ [ref]: await store(api, bundle, {}, BOB) }, ref, "may not be read by you"],
      [{ [ref]: await keep(old.certificate + old.key) }, ref, "The certificate expired on 20"],
      [{ [ref]: await keep(young.certificate + young.key) }, ref, "The certificate is not valid before 20"],
      [{ [ref]: await keep(server.certificate + other.key) }, ref, "The private key belongs to another certificate"],
      [{ [ref]: await keep(await openssl.bundle(server, "", ["-passout", "pass:x"])) }, ref, "protected by a password"],
      [{ [ref]: await keep("hello") }, ref, "It is neither PEM nor a PKCS #12 bundle"],
      [
        { [ref]: kept.bundle, sni_container_refs: [kept.pem, await keep("x")] },
        "sni_container_refs",
        "It is neither PEM",
      ],
      [{ ...authority, client_ca_tls_container_ref: kept.bundle }, "client_ca_tls_container_ref", "It is no PEM text"],
      [
        { ...authority, client_ca_tls_container_ref: kept.container },
        "client_ca_tls_container_ref",
        "It is a container",
      ],
      [{ ...authority, client_crl_container_ref: kept.ca }, "client_crl_container_ref", "holds no PEM list of revoked"],
      [
        { ...authority, client_crl_container_ref: await crlOf(stranger) },
        "client_crl_container_ref",
        "not signed by the authority",
      ],
      [
        { ...authority, client_crl_container_ref: await crlOf(root, [], -1) },
        "client_crl_container_ref",
        "expired on 20",
      ],
    ];
    const other443 = await api.call("POST", "/listeners", listenerIn(lb, { ...authority, protocol_port: 8443 }), {
      token: ALICE,
    });
    const existing = `/listeners/${object(other443, "listener").id}`;
    await api.reconciler.settle();
    const before = await contents(api.store);
    for (const [values, attribute, reason] of cases) {
      const created = await api.call("POST", "/listeners", listenerIn(lb, values), { token: ALICE });
      t.strictSame(errorProblems(created, 400, reason), [], `POST ${reason}`);
      t.match(created.body.faultstring, attribute);
      const updated = await api.call("PUT", existing, { listener: values }, { token: ALICE });
      t.strictSame(errorProblems(updated, 400, reason), [], `PUT ${reason}`);
      const graph = {
        loadbalancer: { listeners: [listenerIn("", values).listener].map(({ loadbalancer_id: _, ...rest }) => rest) },
      };
      t.strictSame(
        errorProblems(await api.call("POST", "/loadbalancers", graph, { token: ALICE }), 400, reason),
        [],
        `graph ${reason}`,
      );
      t.notOk(`${created.text}${updated.text}`.includes("PRIVATE KEY-----"));
    }
    const pool = { loadbalancer_id: lb, protocol: "HTTP", lb_algorithm: "ROUND_ROBIN", tls_enabled: true };
    for (const [values, attribute] of [
      [{ tls_container_ref: missing }, "tls_container_ref"],
      [{ tls_container_ref: kept.ca }, "tls_container_ref"],
      [{ ca_tls_container_ref: kept.crl }, "ca_tls_container_ref"],
      [{ ca_tls_container_ref: kept.ca, crl_container_ref: await crlOf(stranger) }, "crl_container_ref"],
    ] as const) {
      const created = await api.call("POST", "/pools", { pool: { ...pool, ...values } }, { token: ALICE });
      t.strictSame(errorProblems(created, 400, attribute), []);
    }
    const plain = await api.call("PUT", `/listeners/${http}`, { listener: { [ref]: kept.bundle } }, { token: ALICE });
    t.strictSame(errorProblems(plain, 400, "TERMINATED_HTTPS listeners only"), []);
    const now = await contents(api.store);
    // what the cases above keep is in the key manager
    for (const table of Object.keys(before).filter((name) => name !== "secrets"))
      t.strictSame(now[table], before[table], table);
  });

  t.test(`${database.name}: a new authority must be that of the list of revoked ones that stays`, async (t) => {
    const api = await startApi(t, database);
    const { lb } = await api.graph();
    const admin = "admin-token";
    const kept = await everything(api, admin);
    const tls = {
      default_tls_container_ref: kept.bundle,
      client_ca_tls_container_ref: kept.ca,
      client_crl_container_ref: kept.crl,
    };
    const { id } = await api.create("listener", "/listeners", listenerIn(lb, tls).listener);
    const stranger = await openssl.issue("/CN=stranger", { isAuthority: true });
    const patch = { listener: { client_ca_tls_container_ref: await store(api, stranger.certificate) } };
    t.strictSame(
      errorProblems(await api.call("PUT", `/listeners/${id}`, patch), 400, "not signed by the authority"),
      [],
    );
    const without = { listener: { ...patch.listener, client_crl_container_ref: null } };
    t.equal((await api.call("PUT", `/listeners/${id}`, without)).status, 202);
  });
}

t.test("who may use a secret: whoever may read it, and administrators in its project", async (t) => {
  const api = await startApi(t, SQLITE);
  const { lb: alices } = await api.graph(ALICE);
  const { lb: bobs } = await api.graph(BOB);
  const secret = await store(api, bundle, {}, ALICE);
  let port = 1000;
  const use = async (lb: string, token: string, reference = secret) => {
    const body = listenerIn(lb, { default_tls_container_ref: reference, protocol_port: port++ });
    return (await api.call("POST", "/listeners", body, { token })).status;
  };
  t.equal(await use(alices, ALICE), 201);
  t.equal(await use(alices, "admin-token"), 201, "an administrator, where it belongs");
  t.equal(await use(bobs, "admin-token"), 400, "an administrator, where it does not");
  t.equal(await use(bobs, BOB), 400, "another project");
  t.equal(await use(alices, BOB), 403, "another project's load balancer: not even told of the secret");
  await api.call("PUT", `${whole(api, secret)}/acl`, { read: { users: ["bob"] } }, { token: ALICE });
  t.equal(await use(bobs, BOB), 201, "on its list");
  const container = await storeContainer(api, { certificate: server.certificate, private_key: server.key }, ALICE);
  await api.call("PUT", `${whole(api, container)}/acl`, { read: { users: ["bob"] } }, { token: ALICE });
  t.equal(await use(bobs, BOB, container), 400, "the container's list is not that of its secrets");
  await api.call("PUT", `${whole(api, secret)}/acl`, { read: { "project-access": false } }, { token: ALICE });
  t.equal(await use(alices, ALICE), 201, "its creator's alone");
  t.equal(await use(bobs, BOB), 400);
});

t.test(
  "a certificate that is replaced is looked at anew, and not replaced by what its users could not use",
  async (t) => {
    const api = await startApi(t, SQLITE);
    const { lb } = await api.graph();
    const secret = await store(api, "not yet");
    const create = () => api.call("POST", "/listeners", listenerIn(lb, { default_tls_container_ref: secret }));
    t.equal((await create()).status, 400);
    await replace(api, secret, PEM);
    const made = await create();
    t.equal(made.status, 201);
    const put = (payload: string) =>
      api.call("PUT", whole(api, secret), payload, { headers: { "content-type": "text/plain" } });
    const old = await openssl.issue("/CN=old", { authority: root, days: { from: -9, to: -1 } });
    for (const [payload, reason] of [
      ["nonsense", "It is neither PEM"],
      [server.certificate + other.key, "The private key belongs to another certificate"],
      [old.certificate + old.key, "The certificate expired on 20"],
    ] as const) {
      const answer = await put(payload);
      t.strictSame(keyErrorProblems(answer, 400, reason), []);
      t.match(answer.text, `listener ${object(made, "listener").id} uses it, default_tls_container_ref`);
    }
    t.equal((await ask(api, "GET", `${secret}/payload`)).text, PEM, "what was there is there");
    t.equal((await put(other.certificate + other.key)).status, 204);
  },
);
