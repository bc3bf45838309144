/** The key manager's API: secrets, containers and consumers, as clients use them. */
import { randomBytes, randomUUID } from "node:crypto";
import t from "tap";
import { ADMIN, ALICE, type Answer, BOB, type Json, objects, startApi } from "../support/api.ts";
import { ask, KEYS, keyErrorProblems, replace, store, storeContainer, whole } from "../support/key-manager.ts";
import { databases, SQLITE } from "../support/postgres.ts";
import { contents } from "../support/tree.ts";

const text = (accept: string, token = ADMIN) => ({ token, headers: { accept } });

for (const database of databases(t)) {
  t.test(`${database.name}: a secret is stored, described, read and removed`, async (t) => {
    const api = await startApi(t, database);
    const values = { name: "first", secret_type: "passphrase", algorithm: "aes", bit_length: 256, mode: "cbc" };
    const secret = await store(api, "tiger – 🐅", { ...values, expiration: "2999-01-01T01:00:00+01:00" });
    t.match(secret, /^http:\/\/127\.0\.0\.1:\d+\/key-manager\/v1\/secrets\/[0-9a-f-]{36}$/);
    const { body } = await ask(api, "GET", secret);
    t.match(body, {
      ...values,
      status: "ACTIVE",
      creator_id: "admin",
      expiration: "2999-01-01T00:00:00",
      secret_ref: secret,
    });
    t.strictSame(body.content_types, { default: "text/plain" });
    t.notOk("payload" in body || "consumers" in body, "neither the payload nor what older clients don't know");
    const read = await ask(api, "GET", `${secret}/payload`, undefined, text("text/plain"));
    t.equal(read.text, "tiger – 🐅");
    t.match(read.headers.get("content-type"), "text/plain");
    t.equal(read.headers.get("cache-control"), "no-store");
    t.equal(
      (await ask(api, "GET", secret, undefined, text("text/plain"))).text,
      "tiger – 🐅",
      "as it was asked for once",
    );
    t.equal((await ask(api, "DELETE", secret)).status, 204);
    t.strictSame(keyErrorProblems(await api.call("GET", whole(api, secret)), 404, "Secret"), []);
    t.strictSame((await contents(api.store)).secrets, []);
  });

  t.test(`${database.name}: a payload may come later, and be replaced`, async (t) => {
    const api = await startApi(t, database);
    const made = await ask(api, "POST", "/secrets/", { name: "later" });
    const secret = String(made.body.secret_ref);
    t.equal(made.status, 201);
    t.equal(made.headers.get("location"), secret);
    t.notOk("content_types" in (await ask(api, "GET", secret)).body);
    t.strictSame(keyErrorProblems(await api.call("GET", `${whole(api, secret)}/payload`), 404, "no payload"), []);
    const bytes = randomBytes(1000);
    await replace(api, secret, bytes);
    const read = await ask(api, "GET", `${secret}/payload`, undefined, text("application/octet-stream"));
    t.equal(read.headers.get("content-length"), "1000");
    t.strictSame((await ask(api, "GET", secret)).body.content_types, { default: "application/octet-stream" });
    const encoded = { "content-type": "application/octet-stream", "content-encoding": "base64" };
    const lines = Buffer.from("x".repeat(100))
      .toString("base64")
      .replace(/(.{64})/g, "$1\n");
    await ask(api, "PUT", secret, `${lines}\n`, { headers: encoded });
    t.equal((await ask(api, "GET", `${secret}/payload`)).text, "x".repeat(100));
    await replace(api, secret, "another");
    t.equal((await ask(api, "GET", `${secret}/payload`)).text, "another");
  });

  t.test(`${database.name}: the list shows what the project has, page by page`, async (t) => {
    const api = await startApi(t, database);
    for (let i = 0; i < 12; i++) await store(api, `payload ${i}`, { name: `s${i % 3}`, bit_length: i + 1 }, ALICE);
    await store(api, "of another project", {}, BOB);
    const list = (query: string) => ask(api, "GET", `/secrets?${query}`, undefined, { token: ALICE });
    const names = (answer: Answer, key = "name") => objects(answer, "secrets").map((each) => each[key]);
    const first = await list("");
    t.equal(names(first).length, 10, "as many as in Barbican");
    t.equal(first.body.total, 12);
    t.notOk(first.text.includes("payload "), "no payload");
    t.equal(first.body.previous, undefined);
    const second = await ask(api, "GET", String(first.body.next), undefined, { token: ALICE });
    t.equal(names(second).length, 2);
    t.equal(second.body.next, undefined);
    t.match(second.body.previous, /limit=10&offset=0/);
    t.strictSame(names(await list("name=s1&limit=100")), ["s1", "s1", "s1", "s1"]);
    t.strictSame((await list("limit=0")).body, { secrets: [], total: 12 }, "how many there are");
    t.strictSame(names(await list("bits=7"), "bit_length"), [7]);
    t.equal((await list("secret_type=private")).body.total, 0);
    t.strictSame(names(await list("sort=name:desc,bit_length:asc&limit=3"), "bit_length"), [3, 6, 9]);
    t.equal((await list("created=gt:2999-01-01T00:00:00")).body.total, 0);
    t.equal((await list("created=gt:2000-01-01,lte:2999-01-01T00:00:00Z")).body.total, 12);
    for (const wrong of [
      "limit=-1",
      "limit=x",
      "offset=1.5",
      "sort=payload",
      "sort=name:up",
      "created=yesterday",
      "acl_only=true",
      "name=%00",
    ]) {
      const name = wrong.split("=")[0];
      t.strictSame(keyErrorProblems(await api.call("GET", `${KEYS}/secrets?${wrong}`), 400, name), []);
    }
  });

  t.test(`${database.name}: what has expired is gone`, async (t) => {
    const api = await startApi(t, database);
    const secret = await store(api, "x", { expiration: "2999-01-01" });
    await api.store.db.updateTable("secrets").set({ expiration: "2020-01-01T00:00:00" }).execute();
    t.equal((await api.call("GET", whole(api, secret))).status, 404);
    t.equal((await api.call("GET", `${whole(api, secret)}/payload`)).status, 404);
    t.equal((await ask(api, "GET", "/secrets")).body.total, 0);
  });

  t.test(`${database.name}: containers hold secrets of their project, by names`, async (t) => {
    const api = await startApi(t, database);
    const [one, two, three] = [await store(api, "1"), await store(api, "2"), await store(api, "3")];
    const refs = [
      { name: "certificate", secret_ref: one },
      { name: "private_key", secret_ref: two },
    ];
    const made = await ask(api, "POST", "/containers", { name: "c", type: "certificate", secret_refs: refs });
    const container = String(made.body.container_ref);
    t.match((await ask(api, "GET", container)).body, {
      name: "c",
      type: "certificate",
      secret_refs: refs,
      consumers: [],
    });
    t.strictSame(
      keyErrorProblems(
        await api.call("POST", `${whole(api, container)}/secrets`, { secret_ref: three }),
        400,
        "generic",
      ),
      [],
    );
    const generic = String((await ask(api, "POST", "/containers", { type: "generic" })).body.container_ref);
    const part = { name: "x", secret_ref: three };
    t.equal((await ask(api, "POST", `${generic}/secrets`, part)).status, 201);
    t.strictSame(keyErrorProblems(await api.call("POST", `${whole(api, generic)}/secrets`, part), 409, "already"), []);
    t.equal((await ask(api, "POST", `${generic}/secrets`, { secret_ref: three })).status, 201, "without a name too");
    t.strictSame((await ask(api, "GET", generic)).body.secret_refs, [{ name: null, secret_ref: three }, part]);
    await ask(api, "DELETE", `${generic}/secrets`, part);
    t.strictSame(keyErrorProblems(await api.call("DELETE", `${whole(api, generic)}/secrets`, part), 404), []);
    t.match((await ask(api, "GET", "/containers?type=generic")).body, { total: 1 });
    t.match((await ask(api, "GET", "/containers?name=c&limit=1")).body, { total: 1, containers: [{ name: "c" }] });
    await ask(api, "DELETE", two);
    t.strictSame(
      (await ask(api, "GET", container)).body.secret_refs,
      refs.slice(0, 1),
      "a secret leaves its containers",
    );
    await ask(api, "DELETE", container);
    t.equal((await api.call("GET", whole(api, container))).status, 404);
    t.equal((await ask(api, "GET", one)).status, 200, "a container's secrets stay");
    const foreign = await store(api, "x", {}, BOB);
    for (const secret_ref of [foreign, `http://h/secrets/${randomUUID()}`]) {
      const body = { type: "generic", secret_refs: [{ name: "x", secret_ref }] };
      t.strictSame(keyErrorProblems(await api.call("POST", `${KEYS}/containers`, body), 404, "doesn't exist"), []);
    }
  });

  t.test(`${database.name}: whoever is on a secret's list may read it, and nobody else`, async (t) => {
    const api = await startApi(t, database);
    const secret = await store(api, "x", {}, ALICE);
    const container = await storeContainer(api, { certificate: "y" }, ALICE);
    for (const object of [secret, container]) {
      const path = whole(api, object);
      const see = async (token: string) => (await api.call("GET", path, undefined, { token })).status;
      const acl = async () => (await ask(api, "GET", `${object}/acl`, undefined, { token: ALICE })).body;
      t.strictSame(await acl(), { read: { "project-access": true } });
      t.strictSame([await see(ALICE), await see(BOB), await see(ADMIN)], [200, 403, 403]);
      const set = (method: string, read: Json, token = ALICE) => api.call(method, `${path}/acl`, { read }, { token });
      t.match((await set("PUT", { users: ["bob", "bob"] })).body, { acl_ref: `${object}/acl` });
      t.match(await acl(), { read: { "project-access": true, users: ["bob"], created: /^20/, updated: /^20/ } });
      t.strictSame([await see(ALICE), await see(BOB)], [200, 200]);
      t.equal((await set("PUT", { users: [] }, BOB)).status, 403, "to read it is all he may");
      t.equal((await api.call("DELETE", path, undefined, { token: BOB })).status, 403);
      await set("PATCH", { "project-access": false });
      t.match(await acl(), { read: { "project-access": false, users: ["bob"] } }, "the rest stays");
      await set("PUT", { "project-access": false });
      t.match(await acl(), { read: { "project-access": false, users: [] } }, "the rest goes");
      t.strictSame([await see(ALICE), await see(BOB)], [200, 403]);
      t.equal((await api.call("DELETE", `${path}/acl`, undefined, { token: ALICE })).status, 200);
      t.strictSame(await acl(), { read: { "project-access": true } });
    }
    const path = `${whole(api, secret)}/payload`;
    t.equal((await api.call("GET", path, undefined, { token: BOB })).status, 403);
    t.equal((await api.call("PUT", whole(api, secret), "z", { token: BOB })).status, 403);
  });

  t.test(`${database.name}: those who use something say so, and can be seen`, async (t) => {
    const api = await startApi(t, database);
    const [secret, container] = [await store(api, "x"), await storeContainer(api, { certificate: "y" })];
    const newer = { headers: { "openstack-api-version": "key-manager 1.1" } };
    const user = { service: "backup", resource_type: "tape", resource_id: "7" };
    for (const [object, said] of [
      [secret, user],
      [container, { name: "backup", URL: "http://backup/7" }],
    ] as const) {
      for (let i = 0; i < 2; i++) {
        t.match((await ask(api, "POST", `${object}/consumers`, said, newer)).body, { consumers: [said] }, "once");
      }
      t.strictSame((await ask(api, "GET", `${object}/consumers`)).body, { consumers: [said], total: 1 });
      t.strictSame((await ask(api, "GET", object, undefined, newer)).body.consumers, [said]);
      t.strictSame((await ask(api, "DELETE", `${object}/consumers`, said, newer)).body.consumers, []);
      t.strictSame(keyErrorProblems(await api.call("DELETE", `${whole(api, object)}/consumers`, said), 404), []);
    }
    const listed = await ask(api, "GET", "/secrets", undefined, newer);
    t.strictSame(objects(listed, "secrets")[0]?.consumers, []);
  });
}

t.test("clients find the versions, and are told which one they are answered in", async (t) => {
  const api = await startApi(t, SQLITE);
  const versions = await api.call("GET", "//key-manager", undefined, { token: "" });
  t.equal(versions.status, 300);
  const self = { rel: "self", href: `${api.base}/key-manager/v1/` };
  t.match(versions.body, { versions: { values: [{ id: "v1", status: "stable", links: [self] }] } });
  const headers = { "openstack-api-version": "compute 2.9, key-manager 1.1" };
  const newer = await api.call("GET", "//key-manager/", undefined, { token: "", headers });
  t.match(newer.body, { versions: [{ id: "v1", status: "CURRENT", min_version: "1.0", max_version: "1.1" }] });
  t.equal(newer.headers.get("openstack-api-version"), "key-manager 1.1");
  t.match((await api.call("GET", "//key-manager/v1/")).body, { version: { id: "v1" } });
  const none = { headers: { "openstack-api-version": "key-manager 1.7" } };
  t.strictSame(keyErrorProblems(await api.call("GET", `${KEYS}/secrets`, undefined, none), 406, "1.7"), []);
  for (const [method, path, status] of [
    ["GET", "/secrets", 401],
    ["GET", "", 401],
    ["GET", "/orders", 401],
  ] as const) {
    t.strictSame(keyErrorProblems(await api.call(method, `${KEYS}${path}`, undefined, { token: "" }), status), []);
  }
  t.strictSame(keyErrorProblems(await api.call("GET", `${KEYS}/orders`), 404), []);
  t.strictSame(keyErrorProblems(await api.call("PATCH", `${KEYS}/secrets`), 405), []);
});
