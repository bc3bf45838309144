import t from "tap";
import { isNested } from "../../controller/api/nesting.ts";
import { startApi } from "../support/api.ts";
import { badValues, cataloguePlaces, placesOf, writable } from "../support/api-attributes.ts";
import { errorProblems } from "../support/api-errors.ts";
import { databases } from "../support/postgres.ts";
import { contents } from "../support/tree.ts";

/** Names that mean something in JavaScript, or to the database, but nothing to the API. */
const UNKNOWN = [
  "nonsense",
  "__proto__",
  "constructor",
  "toString",
  "",
  "id ",
  "ID",
  "name; --",
  "a\0b",
  "x".repeat(9999),
];

for (const database of databases(t)) {
  t.test(
    `${database.name}: a value that an attribute can't have is refused by its name, and nothing changes`,
    async (t) => {
      const api = await startApi(t, database);
      const places = [...placesOf(await api.graph()), ...(await cataloguePlaces(api))];
      const before = await contents(api.store);
      for (const { resource, valid, list, one } of places) {
        const calls = [
          ["POST", list, writable(resource, "create")],
          ["PUT", one, writable(resource, "always")],
        ] as const;
        for (const [method, path, attributes] of calls) {
          const problems: string[] = [];
          for (const [name, attribute] of attributes) {
            for (const value of badValues(name, attribute)) {
              const values = method === "POST" ? { ...valid, [name]: value } : { [name]: value };
              const answer = await api.call(method, path, { [resource.name]: values });
              const told = errorProblems(answer, 400, `attribute ${name}.`);
              problems.push(...told.map((problem) => `${name}: ${shown(value)}: ${problem}`));
            }
          }
          t.strictSame(problems, [], `${method} ${resource.plural}`);
        }
      }
      t.strictSame(await contents(api.store), before);
    },
  );

  t.test(`${database.name}: what is not a client's to set is refused by its name, and nothing changes`, async (t) => {
    const api = await startApi(t, database);
    const places = [...placesOf(await api.graph()), ...(await cataloguePlaces(api))];
    const before = await contents(api.store);
    for (const { resource, valid, list, one } of places) {
      const problems: string[] = [];
      const expect = async (method: string, path: string, name: string, values: object, message: string) => {
        const answer = await api.call(method, path, { [resource.name]: values });
        problems.push(...errorProblems(answer, 400, message).map((problem) => `${method} ${name}: ${problem}`));
      };
      for (const [name, { write, default: byDefault }] of Object.entries(resource.attributes)) {
        const unknown = write === "internal" ? "Unknown attribute" : `attribute ${name}.`;
        if (write === "always") continue;
        await expect("PUT", one, name, { [name]: valid[name] ?? byDefault ?? "x" }, unknown);
        if (write === "create" || isNested(resource, name)) continue;
        for (const value of [byDefault ?? "x", null, 1, []]) {
          await expect("POST", list, name, { ...valid, [name]: value }, unknown);
        }
      }
      for (const name of UNKNOWN) {
        // not a literal, in which __proto__ is no name like others
        const values = Object.fromEntries([...Object.entries(valid), [name, "x"]]);
        await expect("POST", list, name, values, "Unknown attribute");
        await expect("PUT", one, name, Object.fromEntries([[name, null]]), "Unknown attribute");
      }
      t.strictSame(problems, [], resource.plural);
    }
    t.strictSame(await contents(api.store), before);
  });

  t.test(`${database.name}: what must be given and is not is named, and nothing changes`, async (t) => {
    const api = await startApi(t, database);
    const places = [...placesOf(await api.graph()), ...(await cataloguePlaces(api))];
    const before = await contents(api.store);
    for (const { resource, valid, list } of places) {
      for (const name of Object.keys(valid)) {
        const { [name]: _, ...rest } = valid;
        const answer = await api.call("POST", list, { [resource.name]: rest });
        t.strictSame(errorProblems(answer, 400, name), [], `${resource.name} without ${name}`);
      }
    }
    t.strictSame(await contents(api.store), before);
  });
}

function shown(value: unknown): string {
  return JSON.stringify(value).slice(0, 50);
}
