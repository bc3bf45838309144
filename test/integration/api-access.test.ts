import { randomUUID } from "node:crypto";
import t from "tap";
import { ADMIN, ALICE, BOB, objects, startApi } from "../support/api.ts";
import { placesOf } from "../support/api-attributes.ts";
import { errorProblems } from "../support/api-errors.ts";
import { databases, SQLITE } from "../support/postgres.ts";
import { contents } from "../support/tree.ts";

for (const database of databases(t)) {
  t.test(
    `${database.name}: another project's things can be neither seen nor changed, and are not hidden`,
    async (t) => {
      const api = await startApi(t, database);
      const places = placesOf(await api.graph(ALICE));
      await api.graph(BOB);
      const before = await contents(api.store);
      for (const { resource, valid, list, one } of places) {
        const { name } = resource;
        const calls: [string, string, object?][] = [
          ["GET", one],
          ["PUT", one, { [name]: { tags: ["mine"] } }],
          ["DELETE", one],
        ];
        if (name !== "loadbalancer") calls.push(["POST", list, { [name]: valid }]);
        if (name === "member" || name === "rule") calls.push(["GET", list]);
        if (name === "loadbalancer" || name === "listener") calls.push(["GET", `${one}/stats`]);
        if (name === "loadbalancer") calls.push(["PUT", `${one}/failover`], ["DELETE", `${one}?cascade=true`]);
        for (const [method, path, body] of calls) {
          const answer = await api.call(method, path, body, { token: BOB });
          t.strictSame(errorProblems(answer, 403), [], `${method} ${path}`);
        }
      }
      t.strictSame(await contents(api.store), before);
      t.equal(
        (await api.call("GET", "/amphorae", undefined, { token: BOB })).status,
        403,
        "amphorae are the operator's",
      );
      t.equal((await api.call("GET", `/amphorae/${randomUUID()}`, undefined, { token: BOB })).status, 403);
      t.equal((await api.call("GET", "/amphorae", undefined, { token: ADMIN })).status, 200);
    },
  );
}

t.test("without a token, or with one that is nobody's, nothing is told but where the API is", async (t) => {
  const api = await startApi(t, SQLITE);
  const { lb } = await api.graph();
  const paths = [
    "/loadbalancers",
    `/loadbalancers/${lb}`,
    `/loadbalancers/${randomUUID()}`,
    "/amphorae",
    "/nothing",
    "/",
  ];
  for (const token of [
    "",
    "wrong",
    `${ADMIN} `.repeat(2),
    ADMIN.slice(0, -1),
    `${ADMIN}x`,
    "\u00e4",
    "x".repeat(8000),
  ]) {
    for (const path of paths) {
      for (const method of ["GET", "POST", "PUT", "DELETE"]) {
        const answer = await api.call(method, path, method === "GET" ? undefined : "{", { token });
        t.strictSame(errorProblems(answer, 401, "requires authentication"), [], `${method} ${path} with ${token}`);
        t.match(answer.headers.get("www-authenticate"), /^Keystone uri=/);
      }
    }
  }
});

t.test("GET / lists the versions, in order, of which the last is the current one", async (t) => {
  const api = await startApi(t, SQLITE);
  const answer = await api.call("GET", "//", undefined, { token: "" });
  t.equal(answer.status, 200);
  const versions = objects(answer, "versions");
  const minors = versions.map(({ id }) => Number(/^v2\.(\d+)$/.exec(String(id))?.[1]));
  t.strictSame(minors, Array.from(versions.keys()));
  t.strictSame(
    versions.map(({ status }) => status),
    [...Array(versions.length - 1).fill("SUPPORTED"), "CURRENT"],
  );
  for (const version of versions) t.strictSame(version.links, [{ href: `${api.base}/v2`, rel: "self" }]);
});

t.test("/healthcheck says OK to anybody", async (t) => {
  const api = await startApi(t, SQLITE);
  const answer = await api.call("GET", "//healthcheck", undefined, { token: "" });
  t.match(answer, { status: 200, text: "OK" });
});

t.test("every answer has an id of its own for the request", async (t) => {
  const api = await startApi(t, SQLITE);
  const answers = [
    await api.call("GET", "//", undefined, { token: "" }),
    await api.call("GET", "/loadbalancers"),
    await api.call("GET", "/loadbalancers"),
    await api.call("GET", "/nothing"),
    await api.call("GET", "/loadbalancers", undefined, { token: "" }),
    await api.call("OPTIONS", "/loadbalancers"),
  ];
  const ids = answers.map(({ headers }) => headers.get("RequestId"));
  t.strictSame(
    ids,
    answers.map(({ headers }) => headers.get("x-openstack-request-id")),
  );
  t.equal(new Set(ids).size, answers.length);
});
