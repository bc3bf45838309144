import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import pino from "pino";
import t, { type Test } from "tap";
import { ApiError } from "../../controller/api/errors.ts";
import type { Caller } from "../../controller/api/identity.ts";
import { KeystoneIdentity, type KeystoneIdentityOptions } from "../../controller/drivers/keystone/identity.ts";
import { until } from "../support/deployment.ts";
import { Keystone, PASSWORD } from "../support/keystone.ts";
import type { Scope } from "../support/scope.ts";

const keystone = await Keystone.start(t);
const alpha = await keystone.project("alpha");
const service = await keystone.project("service");
const alice = await keystone.user("alice");
await keystone.grant(alice, "load-balancer_member", { project: alpha });
const amphora = await keystone.user("amphora");
await keystone.grant(amphora, "service", { project: service });

t.test("a token is its user's, with the project and roles that it is for", async (t) => {
  const { identity } = anIdentity(t);
  const beta = await keystone.project("beta");
  await keystone.grant(alice, "load-balancer_observer", { project: beta });
  await keystone.grant(alice, "load-balancer_quota_admin", { project: beta });
  t.strictSame(await identity.authenticate(await keystone.token(alice, { project: alpha })), {
    userId: alice,
    projectId: alpha,
    roles: ["load-balancer_member"],
    system: false,
  });
  const inBeta = await identity.authenticate(await keystone.token(alice, { project: beta }));
  t.match(inBeta, { userId: alice, projectId: beta, system: false });
  t.strictSame([...(inBeta?.roles ?? [])].sort(), ["load-balancer_observer", "load-balancer_quota_admin"]);
  t.match(await identity.authenticate(await keystone.credentialToken(alice, alpha)), {
    userId: alice,
    projectId: alpha,
    roles: ["load-balancer_member"],
  });
});

t.test("a token for the deployment as a whole, for a domain or for nothing is of no project", async (t) => {
  const { identity } = anIdentity(t);
  const auditor = await keystone.user("auditor");
  await keystone.grant(auditor, "reader", { system: true });
  await keystone.grant(auditor, "reader", { domain: "default" });
  const caller = { userId: auditor, projectId: "", roles: ["reader"], system: false };
  const shown = async (scope: Parameters<Keystone["token"]>[1]) =>
    identity.authenticate(await keystone.token(auditor, scope));
  t.strictSame(await shown({ system: true }), { ...caller, system: true });
  t.strictSame(await shown({ domain: "default" }), caller);
  t.strictSame(await shown({ unscoped: true }), { ...caller, roles: [] });
});

t.test("what is no token, or no longer one, is nobody's", async (t) => {
  const { identity } = anIdentity(t);
  const good = await keystone.token(alice, { project: alpha });
  const garbage = ["", "x", "../../users", good.slice(0, -4), `${good}x`, `gAAAA${"0".repeat(300)}`, "a".repeat(7000)];
  for (const token of garbage) t.equal(await identity.authenticate(token), null, token.slice(0, 30));
  const asked = await keystone.validations();
  for (const token of ["\u00e4", "a b", "a\r\nX-Auth-Token: b", "\0"])
    t.equal(await identity.authenticate(token), null);
  t.equal(await keystone.validations(), asked, "what no header can hold is not asked about");

  await keystone.revoke(good);
  t.equal(await identity.authenticate(good), null, "revoked");
  const bob = await keystone.user("bob");
  for (const [what, undo] of [
    ["without the role that it was for", () => keystone.ungrant(bob, "load-balancer_member", { project: alpha })],
    ["of a user who is disabled", () => keystone.setUser(bob, { enabled: false })],
  ] as const) {
    await keystone.grant(bob, "load-balancer_member", { project: alpha });
    const token = await keystone.token(bob, { project: alpha });
    await undo();
    t.equal(await identity.authenticate(token), null, what);
  }
  const rules = [{ path: "/v2.0/lbaas/loadbalancers", method: "GET", service: "load-balancer" }];
  const narrow = await keystone.credentialToken(alice, alpha, rules);
  t.equal(await identity.authenticate(narrow), null, "restricted by rules that are not enforced here");
});

t.test("each token is asked about once, however many come with it at a time", async (t) => {
  const { identity } = anIdentity(t);
  const tokens = [
    await keystone.token(alice, { project: alpha }),
    await keystone.credentialToken(alice, alpha),
    "none",
  ];
  const before = await keystone.validations();
  const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => identity.authenticate(tokens[i % 3] ?? "")));
  t.equal(answers.filter((caller) => caller?.userId === alice).length, 40);
  for (const token of tokens) await identity.authenticate(token);
  t.equal((await keystone.validations()) - before, 3);
});

t.test("an answer is believed for as long as it was said to, and a revoked token goes on no longer", async (t) => {
  const { identity } = anIdentity(t, { cacheLimit: 2500 });
  const token = await keystone.token(alice, { project: alpha });
  t.ok(await identity.authenticate(token));
  await keystone.revoke(token);
  t.ok(await identity.authenticate(token), "still believed");
  await until("it is asked about again", async () => (await identity.authenticate(token)) === null, 5000);
  const { identity: careful } = anIdentity(t, { cacheLimit: 0 });
  const other = await keystone.token(alice, { project: alpha });
  t.ok(await careful.authenticate(other));
  await keystone.revoke(other);
  await until("nothing is believed twice", async () => (await careful.authenticate(other)) === null, 1000);
});

t.test("a Keystone that does not answer is given up after a while", async (t) => {
  const { identity, said } = anIdentity(t, { answerLimit: 2000 });
  const known = await keystone.token(alice, { project: alpha });
  t.ok(await identity.authenticate(known));
  keystone.freeze();
  t.teardown(() => keystone.thaw());
  const slow = Array.from({ length: 40 }, (_, i) => identity.authenticate(`other${i}`));
  t.ok(await identity.authenticate(known));
  for (const work of await Promise.allSettled(slow)) {
    t.match(work, { status: "rejected", reason: { status: 503, message: "Keystone) does not answer as it should" } });
  }
  t.match(said(), [{ reason: "no answer within 2 s" }]);
  keystone.thaw();
  // when it has been through those that nobody waits for any more
  await until("it answers again", async () => (await outcome(identity.authenticate("other0"))) === null);
});

t.test("the service user's password can change while the controller runs", async (t) => {
  const user = await keystone.user("changing");
  await keystone.grant(user, "admin", { project: service });
  let password = PASSWORD;
  const { identity, said } = anIdentity(t, { username: "changing", password: async () => password });
  t.equal(await identity.authenticate("one"), null);
  await keystone.setUser(user, { password: "changed" });
  const attempts = async () => (await keystone.answered()).filter((line) => line.startsWith("POST")).length;
  const before = await attempts();
  for (const token of ["two", "three", "four"]) {
    await t.rejects(identity.authenticate(token), { status: 503, message: "until an operator has seen to it" });
  }
  t.equal(await attempts(), before + 1, "what was refused is not tried again at once: that may lock the user");
  t.match(said(), [{ reason: /refuses the service user changing .* on the project service/ }]);
  t.notMatch(JSON.stringify(said()), PASSWORD);
  password = "changed";
  // a token of the very second in which the password changed is revoked with those before it
  await until("tokens are checked again", async () => (await outcome(identity.authenticate("two"))) === null);
  t.match(await identity.authenticate(await keystone.token(alice, { project: alpha })), { userId: alice });
});

t.test("a service user that may not ask is told with what it lacks", async (t) => {
  const weak = await keystone.user("weak");
  await keystone.grant(weak, "member", { project: service });
  const { identity, said } = anIdentity(t, { username: "weak" });
  const token = await keystone.token(alice, { project: alpha });
  await t.rejects(identity.authenticate(token), { status: 503, message: "until an operator has seen to it" });
  t.match(said(), [{ reason: /weak needs the role admin or service on the project service/ }]);
  const { identity: unknown, said: then } = anIdentity(t, { username: "nobody" });
  await unknown.prepare();
  t.match(then(), [{ reason: /refuses the service user nobody/ }], "before the first request");
});

t.test("an address that is not Keystone's is told", async (t) => {
  for (const authUrl of [`${keystone.url}/elsewhere/v3`, "http://127.0.0.1:5000/nothing/v3", "http://127.0.0.1:1/v3"]) {
    const { identity, said } = anIdentity(t, { authUrl });
    await t.rejects(identity.authenticate("one"), { status: 503, message: "does not answer" });
    t.match(said(), [{ reason: `Keystone at ${authUrl}: ` }]);
  }
});

t.test("Keystone is believed only with a certificate of the authority that was named", async (t) => {
  const { ca, url } = await behindTls(t);
  const token = await keystone.token(alice, { project: alpha });
  t.match(await anIdentity(t, { authUrl: url, ca }).identity.authenticate(token), { userId: alice });
  const { identity, said } = anIdentity(t, { authUrl: url });
  await t.rejects(identity.authenticate(token), { status: 503, message: "does not answer" });
  t.match(said(), [{ reason: /certificate/ }]);
});

t.test("while Keystone is away, known tokens go on; others get 503, and 200 as soon as it is back", async (t) => {
  const { identity, said } = anIdentity(t);
  const known = await keystone.token(alice, { project: alpha });
  const other = await keystone.token(alice, { project: alpha });
  t.ok(await identity.authenticate(known));
  await keystone.stop();
  t.match(await identity.authenticate(known), { userId: alice });
  for (const token of [other, "garbage"]) {
    await t.rejects(identity.authenticate(token), { status: 503, message: "Keystone) does not answer as it should" });
  }
  // from here on, tokens are issued that end soon
  await keystone.start({ tokenLife: 6 });
  t.match(await identity.authenticate(other), { userId: alice });
  t.equal(await identity.authenticate("garbage"), null);
  const lines = said().map(({ msg, reason }) => `${msg}: ${reason ?? ""}`);
  t.match(lines, [/^Keystone can't be asked: .*ECONNREFUSED/, /^Keystone can be asked again/], "each told once");
  t.equal(lines.length, 2);
});

t.test("a token is believed no longer than it lives, and the service's own is renewed before it ends", async (t) => {
  const { identity } = anIdentity(t);
  const token = await keystone.token(alice, { project: alpha });
  t.match(await identity.authenticate(token), { userId: alice });
  const renewals = async () => (await keystone.answered()).filter((line) => line.startsWith("POST")).length;
  const refusals = async () => (await keystone.answered()).filter((line) => /^GET .* 401$/.test(line)).length;
  const [before, refused] = [await renewals(), await refusals()];
  // each time another token, so that Keystone is asked
  let asked = 0;
  await until("the service token has been renewed", async () => {
    t.equal(await identity.authenticate(`other${asked++}`), null);
    return (await renewals()) > before;
  });
  t.equal(await refusals(), refused);
  await until("the token has ended", async () => (await identity.authenticate(token)) === null, 10_000);
});

/** What comes of it: the caller, or nobody, or the status of the error. */
function outcome(work: Promise<Caller | null>): Promise<unknown> {
  return work.catch((error: unknown) => (error instanceof ApiError ? error.status : error));
}

/** The driver, and what it has written to its log. */
function anIdentity(t: Test, options: Partial<KeystoneIdentityOptions> = {}) {
  const lines: string[] = [];
  const identity = new KeystoneIdentity({
    authUrl: keystone.url,
    username: "amphora",
    password: async () => PASSWORD,
    userDomain: "Default",
    project: "service",
    projectDomain: "Default",
    cacheLimit: 60_000,
    log: pino({ level: "info" }, { write: (line) => lines.push(line) }),
    ...options,
  });
  t.teardown(() => identity.close());
  return { identity, said: () => lines.map((line): Record<string, unknown> => JSON.parse(line)) };
}

/** HAProxy before Keystone, with a certificate of an authority of its own. */
async function behindTls(t: Scope): Promise<{ ca: string; url: string }> {
  const dir = await mkdtemp(join(tmpdir(), "amphora-tls-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const subject = ["-subj", "/CN=Keystone", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1", "-nodes"];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", "-"];
  const { stdout: pem } = await execa("openssl", ["req", "-x509", ...key, ...subject]);
  const config = `
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen keystone
  bind 127.0.0.1:5001 ssl crt ${dir}/keystone.pem
  server keystone 127.0.0.1:5000
`;
  await writeFile(join(dir, "keystone.pem"), `${pem}\n`);
  await writeFile(join(dir, "haproxy.cfg"), config);
  const haproxy = execa("haproxy", ["-db", "-f", join(dir, "haproxy.cfg")], { reject: false, timeout: 60_000 });
  t.teardown(async () => {
    haproxy.kill();
    await haproxy;
  });
  const ca = pem.slice(pem.indexOf("-----BEGIN CERTIFICATE"));
  await until("HAProxy listens", async () => {
    const { exitCode } = await execa("curl", ["-sk", "-m", "5", "https://127.0.0.1:5001/v3"], { reject: false });
    return exitCode === 0;
  });
  return { ca, url: "https://127.0.0.1:5001/v3" };
}
