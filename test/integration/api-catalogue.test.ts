/** Flavors, availability zones, and the profiles that say what they are. */
import { randomUUID } from "node:crypto";
import t from "tap";
import { type Answer, type Json, object, objects, startApi, type TestApi } from "../support/api.ts";
import { expectRefused } from "../support/api-refusals.ts";
import { databases, SQLITE } from "../support/postgres.ts";

const nobody = randomUUID();

/** The two kinds of profile, and what is made from them. */
const KINDS = [
  {
    profile: "flavorprofile",
    profiles: "flavorprofiles",
    profilePath: "/flavorprofiles",
    data: "flavor_data",
    given: { loadbalancer_topology: "ACTIVE_ACTIVE", replicas: 3, compute_flavor: "602", amp_volume_type: "ssd" },
    other: { loadbalancer_topology: "SINGLE" },
    kind: "flavor",
    path: "/flavors",
    reference: "flavor_profile_id",
    key: "id",
  },
  {
    profile: "availability_zone_profile",
    profiles: "availability_zone_profiles",
    profilePath: "/availabilityzoneprofiles",
    data: "availability_zone_data",
    given: { compute_zone: "az1", cpu_arch: "aarch64", network_zone: "default-az" },
    other: { cpu_arch: "x86_64" },
    kind: "availability_zone",
    path: "/availabilityzones",
    reference: "availability_zone_profile_id",
    key: "name",
  },
] as const;

for (const database of databases(t)) {
  for (const { profile, profiles, profilePath, data, given, other, kind, path, reference, key } of KINDS) {
    t.test(`${database.name}: ${kind}s and their profiles: made, listed, changed, in use, deleted`, async (t) => {
      const api = await startApi(t, database);
      const made = await api.create(profile, profilePath, { name: "p", provider_name: "amphora", [data]: given });
      t.strictSame(Object.keys(made), ["id", "name", "provider_name", data]);
      t.strictSame(made[data], JSON.stringify(given), "an object is answered as text");
      const spaced = JSON.stringify(given, null, 2).replaceAll("\n", " ");
      const again = await api.create(profile, profilePath, { name: "p", provider_name: "octavia", [data]: spaced });
      t.equal(again[data], spaced, "text is kept as it was given, and a profile's name is no other's business");
      t.strictSame(await api.show(profile, `${profilePath}/${made.id}`), made);
      t.equal(objects(await api.call("GET", profilePath), profiles).length, 2);

      const values = { name: "a name", description: "d", [reference]: made.id };
      const one = object(await api.call("POST", path, { [kind]: values }), kind);
      t.strictSame(one, {
        ...(key === "id" ? { id: one.id } : {}),
        name: "a name",
        description: "d",
        enabled: true,
        [reference]: made.id,
      });
      const its = `${path}/${encodeURIComponent(String(one[key]))}`;
      t.strictSame(await api.show(kind, its), one);
      t.strictSame(objects(await api.call("GET", path), `${kind}s`), [one]);
      const changes: Json[] = [{ enabled: false }, { description: "new" }, { enabled: null, description: null }, {}];
      if (key === "id") changes.push({ name: "new" });
      let now: Json = one;
      for (const change of changes) {
        const answer = await api.call("PUT", its, { [kind]: change });
        const defaults = { enabled: true, description: "" };
        const set = Object.entries(change).map(([name, value]) => [name, value ?? defaults[name as "enabled"]]);
        now = { ...now, ...Object.fromEntries(set) };
        t.strictSame([answer.status, object(answer, kind)], [200, now]);
        t.strictSame(await api.show(kind, its), now);
      }

      const profileOf = { name: "p", provider_name: "amphora" };
      const used = `${profilePath}/${made.id}`;
      await expectRefused(t, api, [
        [409, "already exists", "POST", path, kind, { name: now.name, [reference]: again.id }],
        [400, nobody, "POST", path, kind, { name: "n", [reference]: nobody }],
        [400, reference, "PUT", its, kind, { [reference]: again.id }],
        [400, Object.keys(given).pop() ?? "", "POST", profilePath, profile, { ...profileOf, [data]: { size: 1 } }],
        [409, made.id, "DELETE", used],
        [409, data, "PUT", used, profile, { [data]: other }],
        [409, "provider_name", "PUT", used, profile, { provider_name: "octavia" }],
        [404, nobody, "PUT", `${profilePath}/${nobody}`, profile, {}],
        [404, nobody, "DELETE", `${profilePath}/${nobody}`],
        [404, nobody, "PUT", `${path}/${nobody}`, kind, {}],
        [404, nobody, "DELETE", `${path}/${nobody}`],
      ]);
      const renamed = await api.call("PUT", used, { [profile]: { ...made, id: undefined, name: "new" } });
      t.match(object(renamed, profile), { ...made, name: "new" }, "what stays as it is may be told again");
      const changed = await api.call("PUT", `${profilePath}/${again.id}`, { [profile]: { [data]: other } });
      t.match(object(changed, profile), { name: "p", [data]: JSON.stringify(other) }, "nobody uses this one");

      t.equal((await api.call("DELETE", its)).status, 204);
      t.equal((await api.call("GET", its)).status, 404);
      t.equal((await api.call("DELETE", used)).status, 204);
      t.equal((await api.call("GET", used)).status, 404);
    });

    t.test(`${database.name}: a ${kind} made while its profile is deleted has one, or is not made`, async (t) => {
      const api = await startApi(t, database);
      for (let round = 0; round < 8; round++) {
        const values = { name: "p", provider_name: "amphora", [data]: {} };
        const { id } = await api.create(profile, profilePath, values);
        const [creation, removal] = await Promise.all([
          api.call("POST", path, { [kind]: { name: `n${round}`, [reference]: id } }),
          api.call("DELETE", `${profilePath}/${id}`),
        ]);
        const outcome = [creation.status, removal.status].join();
        t.ok(["201,409", "400,204"].includes(outcome), `${outcome}: ${creation.text} ${removal.text}`);
      }
    });
  }

  t.test(`${database.name}: of those who want a name at once, one gets it`, async (t) => {
    const api = await startApi(t, database);
    for (const { profile, profilePath, data, kind, path, reference } of KINDS) {
      const { id } = await api.create(profile, profilePath, { name: "p", provider_name: "amphora", [data]: {} });
      const values = { name: "wanted", [reference]: id };
      const answers = await Promise.all(Array.from({ length: 6 }, () => api.call("POST", path, { [kind]: values })));
      t.strictSame(answers.map(({ status }) => status).sort(), [201, ...Array(5).fill(409)], kind);
    }
  });
}

t.test("a zone is addressed by its name, whatever that is", async (t) => {
  const api = await startApi(t, SQLITE);
  const place = { name: "p", provider_name: "amphora", availability_zone_data: {} };
  const { id } = await api.create("availability_zone_profile", "/availabilityzoneprofiles", place);
  for (const name of [
    "a b",
    "a/b",
    "ä",
    "100%",
    "%2F",
    "?x=1",
    "#",
    "'\"",
    "a+b",
    "null",
    "__proto__",
    "x".repeat(255),
  ]) {
    await api.create("availability_zone", "/availabilityzones", { name, availability_zone_profile_id: id });
    const path = `/availabilityzones/${encodeURIComponent(name)}`;
    t.equal((await api.show("availability_zone", path)).name, name);
    const lb = await api.create("loadbalancer", "/loadbalancers", { availability_zone: name });
    t.equal(lb.availability_zone, name);
    await expectRefused(t, api, [[409, "in use", "DELETE", path]]);
    const listed = await api.call("GET", `/loadbalancers?availability_zone=${encodeURIComponent(name)}`);
    t.strictSame(
      objects(listed, "loadbalancers").map((each) => each.id),
      [lb.id],
    );
    await gone(api, await api.call("DELETE", `/loadbalancers/${lb.id}`));
    t.equal((await api.call("DELETE", path)).status, 204);
    t.equal((await api.call("GET", path)).status, 404);
  }
});

t.test("lists of what the deployment has are filtered, sorted and paged as all lists are", async (t) => {
  const api = await startApi(t, SQLITE);
  for (const { profile, profilePath, profiles, data, kind, path, reference, key } of KINDS) {
    const { id } = await api.create(profile, profilePath, { name: "one", provider_name: "amphora", [data]: {} });
    await api.create(profile, profilePath, { name: "two", provider_name: "octavia", [data]: {} });
    for (const [i, name] of ["c", "a", "b"].entries()) {
      await api.create(kind, path, { name, enabled: i > 0, [reference]: id });
    }
    const names = async (query: string, of: string = path, root = `${kind}s`) =>
      objects(await api.call("GET", `${of}?${query}`), root).map(({ name }) => name);
    t.strictSame(await names("sort=name"), ["a", "b", "c"]);
    t.strictSame(await names("sort=name:desc&enabled=true"), ["b", "a"]);
    t.strictSame(await names(`name=c&${reference}=${id}`), ["c"]);
    t.strictSame(await names(`${reference}=${nobody}`), []);
    t.strictSame(await names("provider_name=octavia", profilePath, profiles), ["two"]);
    const [first] = objects(await api.call("GET", `${path}?sort=name&limit=1`), `${kind}s`);
    const next = await api.call("GET", `${path}?sort=name&limit=1&marker=${first?.[key]}`);
    t.strictSame(
      objects(next, `${kind}s`).map(({ name }) => name),
      ["b"],
    );
    t.strictSame(
      objects(next, `${kind}s_links`).map(({ rel }) => rel),
      ["next", "previous"],
    );
    const named = await api.call("GET", `${path}?fields=name&sort=name`);
    t.strictSame(objects(named, `${kind}s`), [{ name: "a" }, { name: "b" }, { name: "c" }]);
    for (const query of ["tags=x", "project_id=x", "nonsense=1"]) {
      t.equal((await api.call("GET", `${path}?${query}`)).status, 400, query);
    }
  }
});

async function gone(api: TestApi, answer: Answer): Promise<void> {
  if (answer.status !== 204) throw new Error(`${answer.status} ${answer.text}`);
  await api.reconciler.settle();
}
