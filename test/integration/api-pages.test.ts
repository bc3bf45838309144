import fc from "fast-check";
import t from "tap";
import { loadBalancer } from "../../controller/model/load-balancer.ts";
import { type Answer, objects, someMembers, startApi, type TestApi } from "../support/api.ts";
import { databases } from "../support/postgres.ts";
import { aLoadBalancer, insertAll } from "../support/tree.ts";

for (const database of databases(t)) {
  t.test(`${database.name}: pages show everything once, in any order, forwards and backwards`, async (t) => {
    const api = await startApi(t, database);
    const maybe = <T>(i: number, value: T) => (i % 3 === 0 ? null : value);
    const path = await someMembers(
      api,
      Array.from({ length: 17 }, (_, i) => ({
        name: `m${i % 4}`,
        weight: i % 5,
        backup: i % 2 === 0,
        monitor_port: maybe(i, 80 + (i % 2)),
        monitor_address: maybe(i + 1, `10.0.0.${i % 3}`),
      })),
    );
    const key = fc.constantFrom("id", "name", "weight", "backup", "monitor_port", "monitor_address", "created_at");
    const sort = fc.uniqueArray(fc.tuple(key, fc.constantFrom("asc", "desc")), { selector: ([name]) => name });
    await fc.assert(
      fc.asyncProperty(sort, fc.integer({ min: 1, max: 20 }), async (order, limit) => {
        const query = `sort=${order.map((words) => words.join(":")).join(",")}`;
        const whole = names(await api.call("GET", `${path}?${query}`));
        const forwards = await walk(api, `${path}?${query}&limit=${limit}`, "next");
        const last = forwards.at(-1) ?? [];
        const backwards = await walk(
          api,
          `${path}?${query}&limit=${limit}&marker=${last[0]}&page_reverse=True`,
          "previous",
        );
        if (whole.length !== 17) throw new Error(`${whole.length} members`);
        if (String(forwards.flat()) !== String(whole)) throw new Error(`forwards ${forwards}, not ${whole}`);
        const before = [...backwards.toReversed().flat(), ...last];
        if (String(before) !== String(whole)) throw new Error(`backwards ${before}, not ${whole}`);
      }),
      { numRuns: 60 },
    );
  });

  t.test(`${database.name}: a list is in the order that was asked for; what is null counts as the least`, async (t) => {
    const api = await startApi(t, database);
    const path = await someMembers(api, [
      { name: "b", weight: 10, monitor_port: 9 },
      { name: "a", weight: 9, monitor_port: 10 },
      { name: "c", weight: 9 },
    ]);
    const cases: Record<string, string> = {
      "sort=name": "abc",
      "sort=name:asc": "abc",
      "sort=name:desc": "cba",
      "sort_key=name&sort_dir=desc": "cba",
      "sort=weight,name": "acb",
      "sort=weight:asc,name:desc": "cab",
      "sort_key=weight&sort_key=name&sort_dir=desc&sort_dir=asc": "bac",
      "sort=monitor_port": "cba",
      "sort=monitor_port:desc": "abc",
    };
    for (const [query, order] of Object.entries(cases)) {
      const members = objects(await api.call("GET", `${path}?${query}`), "members");
      t.equal(members.map(({ name }) => name).join(""), order, query);
    }
  });

  t.test(`${database.name}: a page has links to the pages beside it, that keep the rest of the query`, async (t) => {
    const api = await startApi(t, database);
    const path = await someMembers(api, [{ name: "a" }, { name: "b" }, { name: "c" }, { name: "d" }]);
    const query = "sort=name&limit=1&fields=name&weight=1";
    const first = await api.call("GET", `${path}?${query}`);
    t.strictSame(rels(first), ["next"]);
    const second = await api.call("GET", relative(api, links(first).next));
    t.strictSame(second.body.members, [{ name: "b" }]);
    t.strictSame(rels(second), ["next", "previous"]);
    t.match(links(second).previous, /^http:\/\/127\.0\.0\.1:\d+\/v2\.0\/lbaas\/.*page_reverse=True/);
    const back = await api.call("GET", relative(api, links(second).previous));
    t.strictSame(back.body.members, [{ name: "a" }]);
    const last = await walk(api, `${path}?sort=name&limit=3`, "next");
    t.strictSame(
      last.map((page) => page.length),
      [3, 1],
    );
    t.strictSame(rels(await api.call("GET", path)), [], "all on one page");
  });

  t.test(`${database.name}: a page holds a thousand at most`, async (t) => {
    const api = await startApi(t, database);
    await insertAll(api.store, loadBalancer, ...Array.from({ length: 1001 }, () => aLoadBalancer()));
    for (const query of ["", "limit=1000", "limit=999999999"]) {
      const answer = await api.call("GET", `/loadbalancers?fields=id&${query}`);
      t.equal(objects(answer, "loadbalancers").length, 1000, query);
      t.strictSame(rels(answer), ["next"], query);
    }
  });
}

/** The ids on every page from there on, by the links of that name. */
async function walk(api: TestApi, path: string, rel: "next" | "previous"): Promise<string[][]> {
  const pages: string[][] = [];
  for (let next: string | undefined = path; next !== undefined; ) {
    const answer: Answer = await api.call("GET", next);
    pages.push(names(answer));
    if (pages.length > 100) throw new Error("the pages do not end");
    const link: string | undefined = links(answer)[rel];
    next = link === undefined ? undefined : relative(api, link);
  }
  return pages;
}

function names(answer: Answer): string[] {
  return objects(answer, "members").map(({ id }) => String(id));
}

function links(answer: Answer): Record<string, string> {
  const [name = ""] = Object.keys(answer.body).filter((key) => key.endsWith("_links"));
  return Object.fromEntries(objects(answer, name).map(({ rel, href }) => [String(rel), String(href)]));
}

function rels(answer: Answer): string[] {
  return Object.keys(links(answer)).sort();
}

function relative(api: TestApi, link: string | undefined): string {
  if (!link?.startsWith(api.base)) throw new Error(`the link leads elsewhere: ${link}`);
  return `/${link.slice(api.base.length)}`;
}
