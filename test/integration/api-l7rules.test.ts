/** Rules: what each type of them needs, and how they hold on to their policy. */
import { randomUUID } from "node:crypto";
import t from "tap";
import { COMPARE_TYPES } from "../../templates/fields.ts";
import { type Json, startApi } from "../support/api.ts";
import { expectRefused, type Refusal } from "../support/api-refusals.ts";
import { databases, SQLITE } from "../support/postgres.ts";

const nobody = randomUUID();

for (const database of databases(t)) {
  t.test(`${database.name}: a policy with rules is kept until they are gone, and goes with its listener`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    const { lb, listener, policy, rule } = await api.graph();
    const rules = `/l7policies/${policy}/rules`;
    const { id: second } = await api.create("rule", rules, { type: "PATH", compare_type: "EQUAL_TO", value: "/x" });
    await api.reconciler.settle();
    const kept = await api.call("DELETE", `/l7policies/${policy}`);
    t.equal(kept.status, 409);
    t.match(kept.body.faultstring, "has 2 rules, which");
    for (const id of [rule, second]) {
      t.equal((await api.call("DELETE", `${rules}/${id}`)).status, 204);
      await api.reconciler.settle();
    }
    t.equal((await api.call("DELETE", `/l7policies/${policy}`)).status, 204);
    await api.reconciler.settle();
    t.equal((await api.call("GET", `/l7policies/${policy}`)).status, 404);
    t.equal((await api.call("GET", rules)).status, 404);

    const { id } = await api.create("l7policy", "/l7policies", {
      listener_id: listener,
      action: "REJECT",
      rules: [{ type: "PATH", compare_type: "EQUAL_TO", value: "/x" }],
    });
    await api.reconciler.settle();
    t.equal((await api.call("DELETE", `/listeners/${listener}`)).status, 204);
    t.equal((await api.show("l7policy", `/l7policies/${id}`)).provisioning_status, "PENDING_DELETE");
    await api.reconciler.settle();
    t.equal((await api.call("GET", `/l7policies/${id}`)).status, 404);
    t.equal((await api.call("DELETE", `/loadbalancers/${lb}?cascade=true`)).status, 204);
  });

  t.test(`${database.name}: a change of a rule marks its policy and listener until it is carried out`, async (t) => {
    const api = await startApi(t, database, { settles: false });
    const { listener, lonely, policy, rule } = await api.graph();
    const paths = {
      listener: `/listeners/${listener}`,
      l7policy: `/l7policies/${policy}`,
      rule: `/l7policies/${policy}/rules/${rule}`,
    };
    const statuses = async () => {
      const found: Json = {};
      for (const [kind, path] of Object.entries(paths)) found[kind] = (await api.show(kind, path)).provisioning_status;
      return found;
    };
    const [now, still] = ["PENDING_UPDATE", "ACTIVE"];
    await api.call("PUT", paths.rule, { rule: { value: "/new" } });
    t.strictSame(await statuses(), { listener: now, l7policy: now, rule: now });
    await api.reconciler.settle();
    await api.call("PUT", paths.l7policy, { l7policy: { redirect_pool_id: lonely } });
    t.strictSame(await statuses(), { listener: now, l7policy: now, rule: still });
    await api.reconciler.settle();
    t.strictSame(await statuses(), { listener: still, l7policy: still, rule: still });
    await api.call("PUT", `/pools/${lonely}`, { pool: { name: "new" } });
    t.strictSame(
      await statuses(),
      { listener: now, l7policy: still, rule: still },
      "a pool concerns who redirects to it",
    );
  });
}

t.test("a rule that means nothing is refused, naming what is wrong, and changes nothing", async (t) => {
  const api = await startApi(t, SQLITE);
  const { policy, rule } = await api.graph();
  const other = await api.graph();
  const list = `/l7policies/${policy}/rules`;
  const faults: [string, Json][] = [
    ...["HEADER", "COOKIE", "SSL_DN_FIELD"].map((type): [string, Json] => ["key", { type }]),
    ...["PATH", "HOST_NAME", "FILE_TYPE", "SSL_CONN_HAS_CERT", "SSL_VERIFY_RESULT"].map((type): [string, Json] => [
      "key",
      { type, key: "x", ...(type === "SSL_CONN_HAS_CERT" ? { value: "True" } : {}) },
    ]),
    ...["STARTS_WITH", "ENDS_WITH", "CONTAINS"].map((compare_type): [string, Json] => [
      "compare_type",
      { type: "FILE_TYPE", compare_type, value: "jpg" },
    ]),
    ...COMPARE_TYPES.filter((each) => each !== "EQUAL_TO").flatMap((compare_type): [string, Json][] => [
      ["compare_type", { type: "SSL_CONN_HAS_CERT", compare_type, value: "True" }],
      ["compare_type", { type: "SSL_VERIFY_RESULT", compare_type, value: "0" }],
    ]),
    ["value", { type: "SSL_CONN_HAS_CERT", value: "False" }],
    ["value", { type: "SSL_VERIFY_RESULT", value: "none" }],
    ["value", { type: "SSL_VERIFY_RESULT", value: "-1" }],
    ["key", { type: "SSL_DN_FIELD", key: "C-N" }],
    ["key", { type: "HEADER", key: "a b" }],
    ["key", { type: "COOKIE", key: "a;b" }],
    ["value", { type: "PATH", value: "a\nb" }],
  ];
  const usual = { compare_type: "EQUAL_TO", value: "x" };
  await expectRefused(t, api, [
    ...faults.flatMap(([field, values]): Refusal[] => [
      [400, `attribute ${field}.`, "POST", list, "rule", { ...usual, ...values }],
      [400, `attribute ${field}.`, "PUT", `${list}/${rule}`, "rule", { ...usual, ...values }],
    ]),
    [400, "attribute key.", "PUT", `${list}/${rule}`, "rule", { type: "COOKIE" }],
    [404, `L7Policy ${nobody}`, "POST", `/l7policies/${nobody}/rules`, "rule", { type: "PATH", ...usual }],
    [404, `L7Rule ${other.rule}`, "PUT", `${list}/${other.rule}`, "rule", {}],
    [404, `L7Rule ${other.rule}`, "DELETE", `${list}/${other.rule}`],
  ]);
});

t.test("rules of every type that mean something are taken, 50 of them at most", async (t) => {
  const api = await startApi(t, SQLITE);
  const { policy } = await api.graph();
  const list = `/l7policies/${policy}/rules`;
  const good: Json[] = [
    ...COMPARE_TYPES.flatMap((compare_type) => [
      { type: "PATH", compare_type, value: "/x" },
      { type: "HOST_NAME", compare_type, value: "example.org" },
      { type: "HEADER", compare_type, key: "X-Some", value: "a \"quoted\" 'text' \\ {with} ünïcode" },
      { type: "COOKIE", compare_type, key: "some", value: "x" },
      { type: "SSL_DN_FIELD", compare_type, key: "CN", value: "x" },
    ]),
    { type: "FILE_TYPE", compare_type: "EQUAL_TO", value: "jpg" },
    { type: "FILE_TYPE", compare_type: "REGEX", value: "jpe?g" },
    { type: "SSL_CONN_HAS_CERT", compare_type: "EQUAL_TO", value: "True", invert: true },
    { type: "SSL_VERIFY_RESULT", compare_type: "EQUAL_TO", value: "0" },
  ];
  for (const values of good) t.match(await api.create("rule", list, values), { invert: false, key: null, ...values });
  const left = 50 - 1 - good.length;
  for (let i = 0; i < left; i++) await api.create("rule", list, { ...good[0], value: `/${i}` });
  await api.reconciler.settle();
  await expectRefused(t, api, [[409, "50", "POST", list, "rule", { ...good[0] }]]);
  const whole = { loadbalancer: { listeners: [{ protocol: "HTTP", protocol_port: 80, l7policies: [] as Json[] }] } };
  whole.loadbalancer.listeners[0]?.l7policies.push({
    action: "REJECT",
    rules: Array.from({ length: 51 }, () => good[0]),
  });
  t.equal((await api.call("POST", "/loadbalancers", whole)).status, 409, "neither in one body");
});
