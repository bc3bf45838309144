import { gzipSync } from "node:zlib";
import fc from "fast-check";
import t from "tap";
import { startApi } from "../support/api.ts";
import { badValues, cataloguePlaces, type Place, placesOf, writable } from "../support/api-attributes.ts";
import { errorProblems } from "../support/api-errors.ts";
import { databases, SQLITE } from "../support/postgres.ts";
import { contents } from "../support/tree.ts";

const DEEP = 100_000;
const MEGABYTE = 1024 * 1024;
const JSON_TYPE = "application/json";

for (const database of databases(t)) {
  t.test(`${database.name}: a body that is no such object is refused, and nothing changes`, async (t) => {
    const api = await startApi(t, database);
    const places = [...placesOf(await api.graph()), ...(await cataloguePlaces(api))];
    const before = await contents(api.store);
    for (const { resource, list, one } of places) {
      const { name } = resource;
      const value = (text: string) => `{"${name}": ${text}}`;
      const [attribute = ""] = writable(resource, "always").map(([each]) => each);
      const bodies: Record<string, string | Uint8Array> = {
        nothing: "",
        "an empty object": "{}",
        "a list": "[]",
        "a list of it": `[${value("{}")}]`,
        "a number": "1",
        "a text": '"x"',
        null: "null",
        "half an object": `{"${name}": {`,
        "no JSON": "name=x",
        "JSON and more": `${value("{}")}x`,
        "single quotes": `{'${name}': {}}`,
        "another root": '{"thing": {}}',
        "the root in upper case": `{"${name.toUpperCase()}": {}}`,
        "a root too many": `{"${name}": {}, "thing": {}}`,
        "a list under the root": value("[]"),
        "null under the root": value("null"),
        "a number under the root": value("1"),
        "a text under the root": value('"x"'),
        "no UTF-8": Buffer.from(value('{"name": "\xff\xfe"}'), "latin1"),
        "UTF-8 cut short": Buffer.from(value('{"name": "\xc3"}'), "latin1"),
        "UTF-16": Buffer.from(value("{}"), "utf16le"),
        compressed: gzipSync(value("{}")),
        // the database is not asked: one is enough for what takes long to write and to read
        ...(database === SQLITE ? heavy(name, attribute) : {}),
      };
      for (const [what, body] of Object.entries(bodies)) {
        t.strictSame(errorProblems(await api.call("POST", list, body), 400), [], `POST ${name}: ${what}`);
        t.strictSame(errorProblems(await api.call("PUT", one, body), 400), [], `PUT ${name}: ${what}`);
      }
      for (const type of [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/json-patch",
      ]) {
        const answer = await api.call("POST", list, value("{}"), { headers: { "content-type": type } });
        t.strictSame(errorProblems(answer, 415, type.split(";")[0]), [], `${name} as ${type}`);
      }
    }
    t.strictSame(await contents(api.store), before);
  });

  t.test(
    `${database.name}: a body that is too large is refused before it is read, and others are still served`,
    async (t) => {
      const api = await startApi(t, database);
      const { lb } = await api.graph();
      const large = `{"loadbalancer": {"name": "${"x".repeat(5 * MEGABYTE)}"}}`;
      const before = await contents(api.store);
      for (const [method, path] of [
        ["POST", "/loadbalancers"],
        ["PUT", `/loadbalancers/${lb}`],
      ] as const) {
        t.strictSame(errorProblems(await api.call(method, path, large), 413), []);
        // without a length given beforehand
        const response = await fetch(`${api.base}/v2.0/lbaas${path}`, {
          method,
          headers: { "content-type": JSON_TYPE, "x-auth-token": "admin-token" },
          body: new Blob([large]).stream(),
          duplex: "half",
        });
        t.equal(response.status, 413);
        await response.text();
        t.equal((await api.call("GET", "/loadbalancers")).status, 200);
      }
      t.strictSame(await contents(api.store), before);
    },
  );

  t.test(`${database.name}: whatever the body, the answer is no failure, and a refusal changes nothing`, async (t) => {
    const api = await startApi(t, database);
    const places = [...placesOf(await api.graph()), ...(await cataloguePlaces(api))];
    let before = JSON.stringify(await contents(api.store));
    for (const place of places) {
      await fc.assert(
        fc.asyncProperty(fc.constantFrom("POST", "PUT"), anyBody(place), async (method, body) => {
          const answer = await api.call(method, method === "POST" ? place.list : place.one, body);
          if ([200, 201, 202].includes(answer.status)) {
            await api.reconciler.settle();
            before = JSON.stringify(await contents(api.store));
            return;
          }
          const problems = errorProblems(answer, answer.status);
          if (![400, 404, 409].includes(answer.status)) problems.push(`status ${answer.status}`);
          if (JSON.stringify(await contents(api.store)) !== before) problems.push("something changed");
          if (problems.length > 0) throw new Error(`${problems.join(", ")}: ${answer.text}`);
        }),
        { numRuns: 40 },
      );
    }
  });
}

/** Bodies of hundreds of kilobytes. */
function heavy(name: string, attribute: string): Record<string, string> {
  const value = (text: string) => `{"${name}": ${text}}`;
  return {
    "lists, deeply": value(`{"${attribute}": ${"[".repeat(DEEP)}${"]".repeat(DEEP)}}`),
    "objects, deeply": value(`{"${attribute}": ${'{"x":'.repeat(DEEP)}1${"}".repeat(DEEP)}}`),
    "tags, deeply": value(`{"tags": ${"[".repeat(DEEP)}${"]".repeat(DEEP)}}`),
    "deeply, without an end": "[".repeat(DEEP),
    "roots, deeply": `{"${name}": `.repeat(DEEP) + "}".repeat(DEEP),
    "very many names": value(`{${Array.from({ length: 50_000 }, (_, i) => `"x${i}": 1`).join(", ")}}`),
  };
}

/** Any JSON, and objects that are nearly right. */
function anyBody({ resource, valid }: Place): fc.Arbitrary<unknown> {
  const attributes = writable(resource, "create");
  const nearly = attributes.map(([name, attribute]) =>
    fc.tuple(
      fc.constant(name),
      fc.oneof(fc.jsonValue(), fc.constantFrom(...badValues(name, attribute)), fc.constant(attribute.default ?? null)),
    ),
  );
  const some = fc.array(fc.oneof(...nearly), { maxLength: 4 }).map((entries) => Object.fromEntries(entries));
  const given = fc.oneof(
    some,
    some.map((values) => ({ ...valid, ...values })),
    fc.jsonValue(),
  );
  return fc.oneof(
    { weight: 5, arbitrary: given.map((values) => ({ [resource.name]: values })) },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 5 }) },
  );
}
