/** What the key manager refuses: it says what is wrong, never shows a payload, and keeps nothing. */
import { randomUUID } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { startApi } from "../support/api.ts";
import { KEYS, keyErrorProblems, store, storeContainer, whole } from "../support/key-manager.ts";
import { databases } from "../support/postgres.ts";
import { contents } from "../support/tree.ts";

const MARK = "tiger-in-the-tank";
const TEXT = { payload: MARK, payload_content_type: "text/plain" };
const OCTETS = { payload_content_type: "application/octet-stream", payload_content_encoding: "base64" };
const ref = () => `http://h/secrets/${randomUUID()}`;
const long = "x".repeat(256);

for (const database of databases(t)) {
  t.test(
    `${database.name}: a body that can't be is refused with the property's name, and nothing changes`,
    async (t) => {
      const api = await startApi(t, database);
      const secret = whole(api, await store(api, "kept"));
      const container = whole(api, await storeContainer(api, { certificate: "x" }));
      const before = await contents(api.store);
      const cases: (readonly [method: string, path: string, body: unknown, property: string])[] = [
        ...[1, {}, [], "a\n", "a\u0000", "\ud800", long].map(
          (name) => ["POST", `${KEYS}/secrets`, { name }, "name"] as const,
        ),
        ...["", "key", 1, null, "OPAQUE"].map(
          (type) => ["POST", `${KEYS}/secrets`, { secret_type: type }, "secret_type"] as const,
        ),
        ...[0, -1, 1.5, "256", 32_768].map(
          (bits) => ["POST", `${KEYS}/secrets`, { bit_length: bits }, "bit_length"] as const,
        ),
        ...["", "tomorrow", "2020-01-01", "2999-13-01", 1].map(
          (at) => ["POST", `${KEYS}/secrets`, { expiration: at }, "expiration"] as const,
        ),
        ["POST", `${KEYS}/secrets`, { payload: MARK }, "payload_content_type"],
        ["POST", `${KEYS}/secrets`, { ...TEXT, payload: "" }, "payload"],
        ["POST", `${KEYS}/secrets`, { ...TEXT, payload: " \n" }, "payload"],
        ["POST", `${KEYS}/secrets`, { ...TEXT, payload: [MARK] }, "payload"],
        ["POST", `${KEYS}/secrets`, { ...TEXT, payload_content_type: "text/html" }, "payload_content_type"],
        [
          "POST",
          `${KEYS}/secrets`,
          { ...TEXT, payload_content_type: "text/plain; charset=latin1" },
          "payload_content_type",
        ],
        ["POST", `${KEYS}/secrets`, { ...TEXT, payload_content_encoding: "base64" }, "payload_content_encoding"],
        ["POST", `${KEYS}/secrets`, { ...TEXT, payload_content_encoding: "gzip" }, "payload_content_encoding"],
        [
          "POST",
          `${KEYS}/secrets`,
          { payload: MARK, payload_content_type: OCTETS.payload_content_type },
          "payload_content_encoding",
        ],
        ["POST", `${KEYS}/secrets`, { ...OCTETS, payload: `${MARK}!` }, "payload"],
        ["POST", `${KEYS}/secrets`, { ...OCTETS, payload: "abcde" }, "payload"],
        ["POST", `${KEYS}/secrets`, { payload_content_type: "text/plain" }, "payload_content_type"],
        ["POST", `${KEYS}/secrets`, { ...TEXT, project_id: "beta" }, "project_id"],
        ["POST", `${KEYS}/secrets`, { ...TEXT, [MARK.toUpperCase()]: 1 }, "TIGER"],
        ["POST", `${KEYS}/containers`, {}, "type"],
        ["POST", `${KEYS}/containers`, { type: "box" }, "type"],
        ["POST", `${KEYS}/containers`, { type: "generic", secret_refs: {} }, "secret_refs"],
        ["POST", `${KEYS}/containers`, { type: "generic", secret_refs: [{}] }, "secret_refs.0.secret_ref"],
        [
          "POST",
          `${KEYS}/containers`,
          { type: "generic", secret_refs: [{ secret_ref: "x" }] },
          "secret_refs.0.secret_ref",
        ],
        [
          "POST",
          `${KEYS}/containers`,
          { type: "generic", secret_refs: [{ secret_ref: ref(), x: 1 }] },
          "secret_refs.0.x",
        ],
        [
          "POST",
          `${KEYS}/containers`,
          { type: "generic", secret_refs: [{ secret_ref: ref() }, { secret_ref: ref() }] },
          "secret_refs",
        ],
        [
          "POST",
          `${KEYS}/containers`,
          { type: "certificate", secret_refs: [{ name: "private_key", secret_ref: ref() }] },
          "secret_refs",
        ],
        [
          "POST",
          `${KEYS}/containers`,
          { type: "rsa", secret_refs: [{ name: "certificate", secret_ref: ref() }] },
          "secret_refs",
        ],
        ["PUT", `${secret}/acl`, { write: { users: [] } }, "write"],
        ["PUT", `${secret}/acl`, { read: { users: "bob" } }, "read.users"],
        ["PUT", `${secret}/acl`, { read: { users: ["a\n"] } }, "read.users.0"],
        ["PATCH", `${container}/acl`, { read: { "project-access": "no" } }, "read.project-access"],
        ["PATCH", `${container}/acl`, { read: { admin: true } }, "read.admin"],
        ["POST", `${secret}/consumers`, { service: "x" }, "resource_type"],
        ["POST", `${container}/consumers`, { name: "x", URL: "" }, "URL"],
        ["POST", `${container}/consumers`, { name: "x".repeat(37), URL: "x" }, "name"],
      ];
      for (const [method, path, body, property] of cases) {
        const answer = await api.call(method, path, body);
        t.strictSame(keyErrorProblems(answer, 400, property), [], JSON.stringify(body));
        t.notOk(answer.text.includes(MARK), `the payload is not shown: ${answer.text}`);
      }
      t.strictSame(await contents(api.store), before);
    },
  );

  t.test(`${database.name}: a payload too large, of a wrong type or encoding is refused`, async (t) => {
    const api = await startApi(t, database);
    const secret = whole(api, await store(api, "kept"));
    const before = await contents(api.store);
    const put = (type: string, body: string | Uint8Array, encoding = "") =>
      api.call("PUT", secret, body, {
        headers: { "content-type": type, ...(encoding === "" ? {} : { "content-encoding": encoding }) },
      });
    const most = 131_072;
    for (const size of [most + 1, 2 * most + 1, 5_000_000]) {
      t.strictSame(keyErrorProblems(await put("text/plain", "x".repeat(size)), 413, "bytes"), []);
      const json = { ...TEXT, payload: "x".repeat(size) };
      t.strictSame(keyErrorProblems(await api.call("POST", `${KEYS}/secrets`, json), 413, "bytes"), []);
    }
    for (const type of ["application/json", "text/html", "application/pkcs8", "text/plain; charset=latin1"]) {
      t.strictSame(keyErrorProblems(await put(type, MARK), 415, "Content-Type"), []);
    }
    t.strictSame(keyErrorProblems(await put("text/plain", ""), 400, "payload"), []);
    t.strictSame(keyErrorProblems(await put("application/octet-stream", `${MARK}!`, "base64"), 400, "payload"), []);
    t.strictSame(keyErrorProblems(await put("application/octet-stream", MARK, "gzip"), 400, "gzip"), []);
    t.strictSame(keyErrorProblems(await put("text/plain", MARK, "base64"), 400, "base64"), []);
    for (const accept of ["application/json", "image/png", "text/html"]) {
      const answer = await api.call("GET", `${secret}/payload`, undefined, { headers: { accept } });
      t.strictSame(keyErrorProblems(answer, 406, "text/plain"), []);
    }
    for (const body of ["", "{", `{"payload": "${MARK}`, `{"payload": "${MARK}"}x`, "[]", "null"]) {
      const answer = await api.call("POST", `${KEYS}/secrets`, body);
      t.strictSame(keyErrorProblems(answer, 400), []);
      t.notOk(answer.text.includes("tiger"), answer.text);
    }
    const xml = { headers: { "content-type": "application/xml" } };
    t.strictSame(keyErrorProblems(await api.call("POST", `${KEYS}/secrets`, "<x/>", xml), 415), []);
    t.strictSame(await contents(api.store), before);
    const binary = whole(api, await store(api, Buffer.from([0xff, 0xfe])));
    const asText = await api.call("GET", `${binary}/payload`, undefined, { headers: { accept: "text/plain" } });
    t.strictSame(keyErrorProblems(asText, 406), [], "bytes that are no text");
    t.equal((await put("text/plain", "x".repeat(most))).status, 204, "as large as it may be");
  });

  t.test(`${database.name}: an id that nothing has is answered with 404, whatever it looks like`, async (t) => {
    const api = await startApi(t, database);
    for (const id of [randomUUID(), "x", "%00", "a%00b", "%F0%9F%92%A9", "%27", "..%2F..", "null", "x".repeat(5000)]) {
      for (const path of [
        `/secrets/${id}`,
        `/secrets/${id}/payload`,
        `/secrets/${id}/acl`,
        `/containers/${id}`,
        `/containers/${id}/consumers`,
      ]) {
        t.strictSame(
          keyErrorProblems(await api.call("GET", `${KEYS}${path}`), 404, "not found"),
          [],
          path.slice(0, 60),
        );
      }
      t.equal((await api.call("DELETE", `${KEYS}/secrets/${id}`)).status, 404);
      t.equal(
        (await api.call("PUT", `${KEYS}/secrets/${id}`, "x", { headers: { "content-type": "text/plain" } })).status,
        404,
      );
      t.equal((await api.call("PUT", `${KEYS}/containers/${id}/acl`, {})).status, 404);
    }
  });

  t.test(`${database.name}: no body does more than be taken, or be refused`, async () => {
    const api = await startApi(t, database);
    const secret = whole(api, await store(api, "kept"));
    const container = whole(api, await storeContainer(api, { certificate: "x" }));
    const value = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.jsonValue(),
      fc.constantFrom("text/plain", "base64", ref(), null),
    );
    const keys = [
      "name",
      "type",
      "secret_type",
      "payload",
      "payload_content_type",
      "payload_content_encoding",
      "expiration",
    ];
    const more = [
      "bit_length",
      "secret_refs",
      "secret_ref",
      "read",
      "users",
      "service",
      "resource_type",
      "resource_id",
      "URL",
    ];
    const body = fc.dictionary(fc.oneof(fc.constantFrom(...keys, ...more), fc.string()), value, { maxKeys: 5 });
    const place = fc.constantFrom(
      ["POST", `${KEYS}/secrets`],
      ["POST", `${KEYS}/containers`],
      ["POST", `${container}/secrets`],
      ["PUT", `${secret}/acl`],
      ["PATCH", `${secret}/acl`],
      ["POST", `${secret}/consumers`],
      ["DELETE", `${container}/consumers`],
    );
    await fc.assert(
      fc.asyncProperty(place, body, async ([method = "", path = ""], given) => {
        const before = await contents(api.store);
        const answer = await api.call(method, path, given);
        if (answer.status < 300) return true;
        const problems = keyErrorProblems(answer, answer.status);
        const after = await contents(api.store);
        return answer.status < 500 && problems.length === 0 && JSON.stringify(after) === JSON.stringify(before);
      }),
      { numRuns: 300 },
    );
  });
}
