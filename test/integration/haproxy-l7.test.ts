/** Layer 7 policies: each rule matches what it says, and the first policy that matches decides, whatever it does. */
import type { Test } from "tap";
import { startAgent } from "../support/agent.ts";
import { onEachRelease } from "../support/haproxy-releases.ts";
import { type Call, call, served, Upstream } from "../support/http.ts";
import { idOf, type ListenerInput, listener, member, pool } from "../support/specs.ts";
import { plugTenant, tenantSpec } from "../support/tenant.ts";

type Policy = NonNullable<ListenerInput["l7policies"]>[number];
type Rule = NonNullable<Policy["rules"]>[number];

const host = (name: string) => ({ headers: { host: name } });
const header = (value: string) => ({ headers: { "x-tenant": value } });
const cookie = (value: string) => ({ headers: { cookie: value } });
const at = (path: string) => ({ path });

/** A rule, requests that it matches, and requests that it does not. */
const RULES: readonly [Partial<Rule>, matching: Call[], others: Call[]][] = [
  [
    { type: "HOST_NAME", compare_type: "EQUAL_TO", value: "www.Example.com" },
    [host("www.example.com"), host("WWW.EXAMPLE.COM:8080")],
    [host("example.com"), host("www.example.com.evil.example")],
  ],
  [
    { type: "HOST_NAME", compare_type: "ENDS_WITH", value: ".example.com" },
    [host("a.example.com"), host("a.example.com:81")],
    [host("example.com")],
  ],
  [{ type: "HOST_NAME", compare_type: "STARTS_WITH", value: "api." }, [host("API.x")], [host("x.api.")]],
  [{ type: "HOST_NAME", compare_type: "CONTAINS", value: "shop" }, [host("myshop.x")], [host("x")]],
  [{ type: "HOST_NAME", compare_type: "REGEX", value: "^[ab]\\.x$" }, [host("a.x"), host("B.x:1")], [host("c.x")]],
  [{ type: "PATH", compare_type: "EQUAL_TO", value: "/a" }, [at("/a"), at("/a?b")], [at("/A"), at("/a/"), at("/ab")]],
  [{ type: "PATH", compare_type: "STARTS_WITH", value: "/api" }, [at("/api/x")], [at("/x/api")]],
  [{ type: "PATH", compare_type: "ENDS_WITH", value: "/end" }, [at("/x/end"), at("/end?x")], [at("/x?/end")]],
  [{ type: "PATH", compare_type: "CONTAINS", value: "-f /etc" }, [], [at("/etc"), at("/-f")]],
  [{ type: "PATH", compare_type: "CONTAINS", value: "-f" }, [at("/x-f")], [at("/")]],
  [{ type: "PATH", compare_type: "REGEX", value: "/v[0-9]+/" }, [at("/x/v12/y")], [at("/v/")]],
  [
    { type: "FILE_TYPE", compare_type: "EQUAL_TO", value: "jpg" },
    [at("/a.jpg"), at("/x/a.b.jpg?c=d.png")],
    [at("/jpg"), at("/a.jpg/b"), at("/a.jpgx"), at("/a.png?x.jpg"), at("/ajpg")],
  ],
  [{ type: "FILE_TYPE", compare_type: "EQUAL_TO", value: ".tar.gz" }, [at("/a.tar.gz")], [at("/a.gz")]],
  [{ type: "FILE_TYPE", compare_type: "REGEX", value: "[a-z./]+" }, [at("/a.b/c.d")], [at("/a.b/c"), at("/ab")]],
  [
    { type: "FILE_TYPE", compare_type: "REGEX", value: "jpe?g|png" },
    [at("/a.jpg"), at("/a.jpeg"), at("/x.y/a.b.png")],
    [at("/jpg/index.html"), at("/a.xjpg"), at("/a.jpgx"), at("/png"), at("/a.png/b")],
  ],
  [
    { type: "HEADER", key: "X-Tenant", compare_type: "EQUAL_TO", value: "a" },
    [header("a"), header("b, a")],
    [header("ab"), {}],
  ],
  [
    { type: "HEADER", key: "X-Tenant", compare_type: "EQUAL_TO", value: "a, b" },
    [header("a, b")],
    [header("a"), header("b")],
  ],
  [
    { type: "HEADER", key: "x-tenant", compare_type: "STARTS_WITH", value: "it's" },
    [header("it's x")],
    [header("its")],
  ],
  [{ type: "HEADER", key: "X-Tenant", compare_type: "ENDS_WITH", value: "\\" }, [header("a\\")], [header("\\a")]],
  [
    { type: "HEADER", key: "X-Tenant", compare_type: "CONTAINS", value: "# %[src]" },
    [header("a # %[src] b")],
    [header("#")],
  ],
  [{ type: "HEADER", key: "X-Tenant", compare_type: "REGEX", value: '^"[a-z]{2}"$' }, [header('"ab"')], [header("ab")]],
  [
    { type: "COOKIE", key: "who", compare_type: "EQUAL_TO", value: "me" },
    [cookie("x=y; who=me")],
    [cookie("who=you"), {}],
  ],
  [{ type: "COOKIE", key: "a'b#$`", compare_type: "STARTS_WITH", value: "m" }, [cookie("a'b#$`=me")], [cookie("a=me")]],
  [{ type: "COOKIE", key: "who", compare_type: "ENDS_WITH", value: "e" }, [cookie("who=me")], [cookie("who=em")]],
  [{ type: "COOKIE", key: "who", compare_type: "CONTAINS", value: "1" }, [cookie("who=a1b")], [cookie("1=a")]],
  [{ type: "COOKIE", key: "who", compare_type: "REGEX", value: "^.{3}$" }, [cookie("who=abc")], [cookie("who=abcd")]],
  [{ type: "PATH", compare_type: "EQUAL_TO", value: "/a", invert: true }, [at("/b")], [at("/a")]],
  [{ type: "SSL_CONN_HAS_CERT", compare_type: "EQUAL_TO", value: "True" }, [], [{}]],
];

onEachRelease("layer 7 policies", serving, {
  "each rule matches what it says": async (t, { apply }) => {
    const listeners = RULES.map(([fields], i) => onPort(1000 + i, [toPool(i, [rule(i, fields)])]));
    await apply({ listeners });
    for (const [i, [fields, matching, others]] of RULES.entries()) {
      for (const request of matching) {
        t.equal(await served({ port: 1000 + i, ...request }), "b", `${text(fields)} matches ${text(request)}`);
      }
      for (const request of others) {
        t.equal(await served({ port: 1000 + i, ...request }), "a", `${text(fields)} does not match ${text(request)}`);
      }
    }
  },

  "all rules of a policy must match; one that is disabled counts for nothing": async (t, { apply }) => {
    const both = [rule(1, PATH), rule(2, { type: "HEADER", key: "x-tenant", compare_type: "EQUAL_TO", value: "a" })];
    const off = { admin_state_up: false } as const;
    await apply({
      listeners: [
        onPort(1001, [toPool(1, both)]),
        onPort(1002, [toPool(2, [rule(3, PATH), rule(4, { ...PATH, value: "/none", ...off })])]),
        onPort(1003, [toPool(3, [rule(5, { ...PATH, ...off })])]),
        onPort(1004, [toPool(4, [])]),
        onPort(1005, [{ ...toPool(5, [rule(6, PATH)]), ...off }]),
        onPort(1006, [
          toPool(
            6,
            Array.from({ length: 50 }, (_, i) => rule(100 + i, PATH)),
          ),
        ]),
      ],
    });
    const request = { path: "/a", ...header("a") };
    t.equal(await served({ port: 1001, ...request }), "b");
    t.equal(await served({ port: 1001, ...at("/a") }), "a");
    t.equal(await served({ port: 1001, ...header("a") }), "a");
    t.equal(await served({ port: 1002, ...request }), "b");
    for (const port of [1003, 1004, 1005]) t.equal(await served({ port, ...request }), "a", `${port}`);
    t.equal(await served({ port: 1006, ...request }), "b", "as many rules as there may be");
  },

  "the first policy that matches decides, whatever it does": async (t, { apply }) => {
    const actions = {
      pool: { action: "REDIRECT_TO_POOL", redirect_pool_id: idOf("pool", 2) },
      url: { action: "REDIRECT_TO_URL", redirect_url: "http://example.com/" },
      prefix: { action: "REDIRECT_PREFIX", redirect_prefix: "http://example.org" },
      reject: { action: "REJECT" },
    } as const;
    const answers = { pool: "b", url: "302 http://example.com/", prefix: "302 http://example.org/a", reject: "403" };
    const kinds = ["pool", "url", "prefix", "reject"] as const;
    const pairs = kinds.flatMap((first) => kinds.map((second) => [first, second] as const));
    await apply({
      listeners: pairs.map(([first, second], i) =>
        onPort(1000 + i, [
          { id: idOf("policy", 2 * i), rules: [rule(3 * i, PATH)], ...actions[first] },
          {
            id: idOf("policy", 2 * i + 1),
            rules: [rule(3 * i + 1, { ...PATH, compare_type: "CONTAINS", value: "/" })],
            ...actions[second],
          },
        ]),
      ),
    });
    for (const [i, [first, second]] of pairs.entries()) {
      t.equal(await outcome({ port: 1000 + i, path: "/a" }), answers[first], `${first} before ${second}`);
      const later = answers[second].replace(/\/a$/, "/b");
      t.equal(await outcome({ port: 1000 + i, path: "/b" }), later, `${second} when ${first} does not match`);
    }
  },

  "redirections say the code, and lead where they say": async (t, { apply }) => {
    const codes = [301, 302, 303, 307, 308] as const;
    const redirect_url = "https://example.com/a%20b?c=%[src]&d='e'\"f\"#g";
    await apply({
      listeners: codes.flatMap((redirect_http_code, i) => [
        onPort(1000 + i, [
          {
            id: idOf("policy", i),
            action: "REDIRECT_TO_URL",
            redirect_url,
            redirect_http_code,
            rules: [rule(i, PATH)],
          },
        ]),
        onPort(1100 + i, [
          {
            id: idOf("policy", 10 + i),
            action: "REDIRECT_PREFIX",
            redirect_prefix: "https://example.com/x%41",
            redirect_http_code,
            rules: [rule(10 + i, { ...PATH, compare_type: "STARTS_WITH" })],
          },
        ]),
      ]),
    });
    for (const [i, code] of codes.entries()) {
      t.equal(await outcome({ port: 1000 + i, path: "/a" }), `${code} ${redirect_url}`);
      t.equal(await outcome({ port: 1100 + i, path: "/a%20b?c=d" }), `${code} https://example.com/x%41/a%20b?c=d`);
    }
  },

  "a policy to a disabled pool is answered 503, as the default pool's listener is": async (t, { apply }) => {
    const pools = [pool(1, [member(1)]), pool(2, [member(2)], { admin_state_up: false })];
    await apply({ listeners: [onPort(1000, [toPool(1, [rule(1, PATH)])])], pools });
    t.equal(await served({ port: 1000, path: "/a" }), "503");
    t.equal(await served({ port: 1000 }), "a");
  },

  "rules see what the client sent, not what is inserted": async (t, { apply }) => {
    const policy = toPool(1, [
      rule(1, { type: "HEADER", key: "X-Forwarded-Proto", compare_type: "EQUAL_TO", value: "https" }),
    ]);
    await apply({ listeners: [{ ...onPort(1000, [policy]), insert_headers: ["X-Forwarded-Proto"] }] });
    const { seen } = await call({ port: 1000, headers: { "x-forwarded-proto": "https" } });
    t.match(seen, { member: "b", headers: { "x-forwarded-proto": "http" } });
  },

  "a regular expression that HAProxy can't compile is refused by the name of its rule": async (t, { agent, next }) => {
    for (const value of ["a(b", "[a", "*", "(?<=a+)b", "\\"]) {
      const policy = toPool(1, [rule(1, PATH), rule(2, { ...PATH, compare_type: "REGEX", value })]);
      const { status, problems } = await agent.refused(next({ listeners: [onPort(1000, [policy])] }));
      t.equal(status, 422);
      t.match(problems, [{ path: "listeners[0].l7policies[0].rules[1].value", message: /regex .* is invalid/ }], value);
      t.equal(problems.length, 1);
    }
  },
});

const PATH = { type: "PATH", compare_type: "EQUAL_TO", value: "/a" } as const;

function onPort(protocol_port: number, l7policies: Policy[]): ListenerInput {
  return listener(protocol_port, { protocol_port, l7policies });
}

/** Whatever matches is for pool 2, that is for member b. */
function toPool(number: number, rules: Rule[]): Policy {
  return { id: idOf("policy", number), action: "REDIRECT_TO_POOL", redirect_pool_id: idOf("pool", 2), rules };
}

function rule(number: number, fields: Partial<Rule>): Rule {
  return { id: idOf("rule", number), type: "PATH", compare_type: "EQUAL_TO", value: "/", ...fields };
}

/** Who served, or the status and where it leads. */
async function outcome(options: Call): Promise<string> {
  const { status, headers, seen } = await call(options);
  return seen?.member ?? [status, headers.location].filter(Boolean).join(" ");
}

function text(value: object): string {
  return JSON.stringify(value);
}

/** Pool 1 is member a alone, pool 2 member b. */
async function serving(t: Test, haproxy: string) {
  const agent = await startAgent(t, { haproxy });
  await plugTenant(t);
  await Upstream.start(t, "a", "10.77.0.21");
  await Upstream.start(t, "b", "10.77.0.22");
  let revision = 0;
  const next = (changes: Parameters<typeof tenantSpec>[2]) =>
    tenantSpec(agent, ++revision, { pools: [pool(1, [member(1)]), pool(2, [member(2)])], ...changes });
  return { agent, next, apply: (changes: Parameters<typeof tenantSpec>[2]) => agent.apply(next(changes)) };
}
