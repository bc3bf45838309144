/** Who may do what with a secret, and what a reference to one is. */
import { randomUUID } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { parseReference } from "../../controller/model/secret-reference.ts";
import { type Guarded, mayOn, type SecretAction } from "../../controller/secrets/access.ts";

const ACTIONS: readonly SecretAction[] = ["read", "decrypt", "change"];

const guarded = (users: string[] = [], access = true): Guarded => ({
  project_id: "alpha",
  creator_id: "alice",
  acl: JSON.stringify({ "project-access": access, users, created: null, updated: null }),
});
const caller = (userId: string, projectId: string, ...roles: string[]) => ({ userId, projectId, roles, system: false });

t.test("a table of who may do what", async (t) => {
  const everything = ["read", "decrypt", "change"];
  const rows: [what: string, who: ReturnType<typeof caller>, secret: Guarded, may: readonly string[]][] = [
    ["its creator", caller("alice", "alpha", "load-balancer_member"), guarded(), everything],
    ["the default list", caller("carol", "alpha", "member"), { ...guarded(), acl: null }, everything],
    ["a member of the project", caller("carol", "alpha", "load-balancer_member"), guarded(), everything],
    ["Barbican's creator role", caller("carol", "alpha", "creator"), guarded(), everything],
    ["a reader of the project", caller("carol", "alpha", "reader"), guarded(), ["read"]],
    ["an observer of the project", caller("carol", "alpha", "load-balancer_observer"), guarded(), ["read"]],
    ["without a role", caller("carol", "alpha"), guarded(), []],
    ["another project's member", caller("bob", "beta", "load-balancer_member"), guarded(), []],
    ["another project's administrator", caller("root", "admin", "admin"), guarded(), []],
    ["the project's administrator", caller("root", "alpha", "admin"), guarded([], false), everything],
    ["on the list", caller("bob", "beta"), guarded(["bob"]), ["read", "decrypt"]],
    ["on the list of a private one", caller("bob", "beta"), guarded(["bob"], false), ["read", "decrypt"]],
    ["a member, when it is private", caller("carol", "alpha", "load-balancer_member"), guarded([], false), []],
    ["its creator, when it is private", caller("alice", "alpha", "member"), guarded([], false), everything],
    ["its creator, elsewhere", caller("alice", "beta", "member"), guarded(), []],
    ["of no project", caller("alice", "", "admin"), { ...guarded(), project_id: "" }, []],
    ["a reader of the deployment", { ...caller("sys", "", "reader"), system: true }, guarded(), []],
  ];
  for (const [what, who, secret, may] of rows) {
    t.strictSame(
      ACTIONS.filter((action) => mayOn(who, action, secret)),
      may,
      what,
    );
  }
});

t.test("a reference is a URL of a secret or container, or an id", async (t) => {
  const id = randomUUID();
  t.strictSame(parseReference(id), { kind: null, id });
  t.strictSame(parseReference(id.toUpperCase()), { kind: null, id }, "in lower case from then on");
  for (const base of [
    "http://127.0.0.1:9311/v1",
    "https://keys.example.org/key-manager/v1",
    "http://[2001:db8::1]:9311",
  ]) {
    t.strictSame(parseReference(`${base}/secrets/${id}`), { kind: "secret", id });
    t.strictSame(parseReference(`${base}/secrets/${id}/`), { kind: "secret", id });
    t.strictSame(parseReference(`${base}/containers/${id}`), { kind: "container", id });
  }
  const wrong = [
    "",
    "x",
    `secrets/${id}`,
    `http://h/orders/${id}`,
    `http://h/secrets/${id}x`,
    `http://h/secrets/${id}/acl`,
  ];
  const worse = [`ftp://h/secrets/${id}`, `http://h h/secrets/${id}`, `http://h/secrets/${id}\n`, `\n${id}`, `${id}?x`];
  for (const text of [...wrong, ...worse]) t.equal(parseReference(text), null, text);
});

t.test("no text is taken for a reference that does not end in an id", async () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const named = parseReference(text);
      return named === null || text.toLowerCase().includes(named.id);
    }),
  );
});
