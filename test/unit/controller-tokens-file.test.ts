import t from "tap";
import { parseTokens } from "../../controller/drivers/static/tokens-file.ts";
import { SettingsError } from "../../controller/settings.ts";

const TOKEN = "5XhYhkZ0rYvT4mSgZ2Ww";
const ANOTHER = "vN8bqk3cJd5Lr0uEw9Aa";

t.test("each entry is a caller", (t) => {
  const tokens = parseTokens(
    "tokens.yaml",
    `
- token: ${TOKEN}
  user: alice
  project: alpha
  roles: [load-balancer_member]
- { token: ${ANOTHER}, user: auditor, roles: [reader, load-balancer_quota_admin], system: true }
- { token: "0123456789abcdef", user: nobody, roles: [reader] }
`,
  );
  const caller = { userId: "alice", projectId: "alpha", roles: ["load-balancer_member"], system: false };
  t.strictSame(tokens[0], { token: TOKEN, caller });
  t.strictSame(tokens[1]?.caller, {
    userId: "auditor",
    projectId: "",
    roles: ["reader", "load-balancer_quota_admin"],
    system: true,
  });
  t.match(tokens[2], { caller: { projectId: "", system: false } });
  t.equal(tokens.length, 3);
  t.strictSame(parseTokens("tokens.yaml", "[]"), []);
  t.end();
});

t.test("a fault is told with file, entry and field, and without the token", (t) => {
  const good = { token: TOKEN, user: "alice", project: "alpha", roles: ["reader"] };
  const cases: [string, unknown[]][] = [
    ["entry 1: token: must be 16 to 512 characters", [{ ...good, token: "s3cret-s3cret" }]],
    ["entry 1: token: must be 16 to 512 characters", [{ ...good, token: `${TOKEN} ` }]],
    ["entry 1: token: must be 16 to 512 characters", [{ ...good, token: `${TOKEN}ä` }]],
    ["entry 1: token: ", [{ ...good, token: 1234567890123456 }]],
    ["entry 2: token: is that of entry 1 too", [good, { ...good, user: "bob" }]],
    ["entry 1: user: ", [{ ...good, user: "" }]],
    ["entry 2: project: must be a project's id", [good, { ...good, token: ANOTHER, project: "a b" }]],
    ["entry 1: roles: ", [{ ...good, roles: [] }]],
    ['entry 1: roles.1: .*"load-balancer_member"', [{ ...good, roles: ["reader", "load_balancer_member"] }]],
    ["entry 1: system: .* has no project", [{ ...good, system: true }]],
    ["entry 1: .*projekt", [{ ...good, projekt: "alpha" }]],
    ["entry 1: ", ["token"]],
    ["entry 1: ", [null]],
  ];
  for (const [message, entries] of cases) {
    const said = problem(JSON.stringify(entries));
    t.match(said, new RegExp(`^tokens-file: tokens\\.yaml: ${message}`));
    for (const secret of [TOKEN, ANOTHER, "s3cret"]) t.notMatch(said, secret);
  }
  const both = problem(
    JSON.stringify([
      { ...good, user: "" },
      { ...good, token: "short" },
    ]),
  );
  t.match(both, /entry 1: user: .*; tokens-file: tokens\.yaml: entry 2: token: /, "every fault at once");
  t.end();
});

t.test("a file that is no list of tokens is told with the line, and without what stands there", (t) => {
  for (const text of ["", "null", "token: x", `${TOKEN}`]) {
    t.equal(problem(text), "tokens-file: tokens.yaml: must hold a list of tokens");
  }
  const broken = problem(`- token: ${TOKEN}\n  user: alice\n  roles: [reader\n- token: "${ANOTHER}\n`);
  t.match(broken, /^tokens-file: tokens\.yaml: line \d+: /);
  for (const secret of [TOKEN, ANOTHER]) t.notMatch(broken, secret);
  t.match(problem(`- {token: ${TOKEN}, token: ${ANOTHER}}`), /line 1: /, "a key that stands twice");
  t.end();
});

function problem(text: string): string {
  try {
    parseTokens("tokens.yaml", text);
  } catch (error) {
    if (error instanceof SettingsError) return error.message;
    throw error;
  }
  return `no problem with ${text}`;
}
