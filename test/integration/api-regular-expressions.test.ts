/** Regular expressions of layer 7 rules: what HAProxy can't compile is refused before anything changes. */
import fc from "fast-check";
import pino from "pino";
import t from "tap";
import { RegularExpressions } from "../../controller/regular-expressions.ts";
import { object, startApi } from "../support/api.ts";
import { errorProblems } from "../support/api-errors.ts";
import { haproxyCheck } from "../support/haproxy.ts";
import { databases, SQLITE } from "../support/postgres.ts";
import { idOf, listener, spec } from "../support/specs.ts";
import { contents } from "../support/tree.ts";

const HAPROXY = "/usr/sbin/haproxy";
const log = pino({ level: "silent" });
/** What PCRE refuses. */
const BROKEN = [
  "a(b",
  "a)b",
  "[a",
  "*a",
  "(?<n>a)(?<n>b",
  "\\",
  "a{2,1}",
  "(?P<1>a)",
  "[[:nothing:]]",
  "\\p{Nothing}",
  "(?",
  "'(",
];
const SOUND = [
  "^/a.*$",
  "a|b",
  "\\.(jpg|png)$",
  'it\'s "fine"',
  "%[src]",
  "# none",
  "a{2}",
  "é+",
  "$HOME",
  "^$",
  "a b",
  "(?i)x",
];

for (const database of databases(t)) {
  t.test(
    `${database.name}: an expression that HAProxy can't compile is refused, alone and within others`,
    async (t) => {
      const api = await startApi(t, database);
      const { lb, listener, policy } = await api.graph();
      const rules = `/l7policies/${policy}/rules`;
      const rule = { type: "PATH", compare_type: "REGEX", value: "^/old" };
      const { id } = await api.create("rule", rules, rule);
      const other = await api.create("rule", rules, { type: "PATH", compare_type: "CONTAINS", value: "a(b" });
      await api.reconciler.settle();
      const before = await contents(api.store);
      // HAProxy is what takes the time, and the database does not matter to it
      const some = <T>(values: readonly T[]) => (database === SQLITE ? values : values.slice(0, 2));
      for (const value of some(BROKEN)) {
        const policyOf = { action: "REJECT", rules: [{ ...rule, value }] };
        const bodies: [string, string, object][] = [
          ["POST", rules, { rule: { ...rule, value } }],
          ["PUT", `${rules}/${id}`, { rule: { value } }],
          ["POST", "/l7policies", { l7policy: { listener_id: listener, ...policyOf } }],
          [
            "POST",
            "/listeners",
            { listener: { loadbalancer_id: lb, protocol: "HTTP", protocol_port: 81, l7policies: [policyOf] } },
          ],
          [
            "POST",
            "/loadbalancers",
            { loadbalancer: { listeners: [{ protocol: "HTTP", protocol_port: 81, l7policies: [policyOf] }] } },
          ],
        ];
        for (const [method, path, body] of bodies) {
          const answer = await api.call(method, path, body);
          t.strictSame(errorProblems(answer, 400, "field/attribute value"), [], `${method} ${path} ${value}`);
          t.match(answer.body.faultstring, "HAProxy can't compile it: ");
        }
      }
      const same = await api.call("PUT", `${rules}/${other.id}`, { rule: { compare_type: "REGEX" } });
      t.match(same.body.faultstring, "HAProxy can't compile it: missing closing parenthesis");
      t.strictSame(await contents(api.store), before);
      for (const type of ["PATH", "HOST_NAME", "FILE_TYPE", "HEADER", "COOKIE", "SSL_DN_FIELD"]) {
        const key = { HEADER: "x-h", COOKIE: "c", SSL_DN_FIELD: "CN" }[type] ?? null;
        for (const value of some(SOUND)) {
          const answer = await api.call("POST", rules, { rule: { type, key, compare_type: "REGEX", value } });
          t.equal(answer.status, 201, `${type} ${value} ${answer.text}`);
          t.equal(object(answer, "rule").value, value);
          await api.call("DELETE", `${rules}/${object(answer, "rule").id}`);
        }
      }
    },
  );
}

t.test("what is taken, HAProxy takes in a whole configuration, and what is refused, it does not", async () => {
  const expressions = new RegularExpressions(HAPROXY, log);
  const pieces = fc.constantFrom(
    ..."abc.*+?()[]{}|^$\\/'\" #%-,:=!<>P0123",
    "(?",
    "\\Q",
    "\\E",
    "(?x)",
    "{{",
    "é",
    "💣",
  );
  const value = fc.oneof(
    fc.array(pieces, { minLength: 1, maxLength: 12 }).map((parts) => parts.join("")),
    fc.constantFrom(...BROKEN, ...SOUND, "(?x)a#b", "\\Qabc", "a)|(b"),
  );
  const type = fc.constantFrom("PATH", "FILE_TYPE");
  await fc.assert(
    fc.asyncProperty(type, value, async (type, value) => {
      const fault = await expressions.fault({ type, compare_type: "REGEX", key: null, value }, "project");
      const rules = [{ id: idOf("rule"), type, compare_type: "REGEX" as const, value }];
      const policy = { id: idOf("policy"), action: "REJECT" as const, rules };
      const whole = spec({ listeners: [listener(1, { l7policies: [policy] })] });
      const { valid } = await haproxyCheck(whole);
      return valid === (fault === null);
    }),
    { numRuns: 80 },
  );
});

t.test("where there is no HAProxy, that is told, and amphorae find out", async (t) => {
  const told: { level: number; msg: string }[] = [];
  const listening = pino({}, { write: (line: string) => told.push(JSON.parse(line)) });
  t.equal(await RegularExpressions.open("/nowhere/haproxy", listening), null);
  t.match(told, [{ level: 40, msg: /^there is no HAProxy here/, haproxy: "/nowhere/haproxy" }]);
  t.ok(await RegularExpressions.open(HAPROXY, listening));
  const broken = new RegularExpressions("/bin/false", listening);
  t.equal(await broken.fault({ type: "PATH", compare_type: "REGEX", key: null, value: "a" }, "project"), null);
  t.match(told[1], { level: 50, msg: "HAProxy could not try a regular expression" });
});

t.test("what kept an expression from being tried is not remembered as its fault", async (t) => {
  const expressions = new RegularExpressions(HAPROXY, log);
  const { TMPDIR } = process.env;
  t.teardown(() => {
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
  });
  const ask = () => expressions.fault({ type: "PATH", compare_type: "REGEX", key: null, value: "^/once$" }, "project");
  process.env.TMPDIR = "/nowhere";
  await t.rejects(ask(), { code: "ENOENT" });
  process.env.TMPDIR = TMPDIR ?? "/tmp";
  t.equal(await ask(), null);
});

t.test("a body holds no more expressions than can be tried in some seconds", async (t) => {
  const api = await startApi(t, SQLITE, { settles: false });
  const rules = Array.from({ length: 50 }, (_, i) => ({ type: "PATH", compare_type: "REGEX", value: `^/${i}$` }));
  const l7policies = Array.from({ length: 11 }, () => ({ action: "REJECT", rules }));
  const listeners = [{ protocol: "HTTP", protocol_port: 80, l7policies }];
  const answer = await api.call("POST", "/loadbalancers", { loadbalancer: { listeners } });
  t.strictSame(errorProblems(answer, 400, "holds 550 regular expressions: 500 are the most"), []);
});
