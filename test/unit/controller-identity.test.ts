import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { keepToken, StaticIdentity } from "../../controller/drivers/identity.ts";

const alice = { userId: "alice", projectId: "alpha", roles: ["load-balancer_member"], system: false };
const admin = { userId: "admin", projectId: "admin", roles: ["admin"], system: false };

t.test("a token is its owner's, and nothing else is anybody's", async (t) => {
  const identity = new StaticIdentity([
    { token: "s3cret", caller: alice },
    { token: "r00t", caller: admin },
  ]);
  t.equal(await identity.authenticate("s3cret"), alice);
  t.equal(await identity.authenticate("r00t"), admin);
  for (const token of ["", "S3CRET", "s3cret ", " s3cret", "s3cre", "s3crett", "\0", "x".repeat(1_000_000), "ä"]) {
    t.equal(await identity.authenticate(token), null, token.slice(0, 20));
  }
  t.equal(await new StaticIdentity([]).authenticate("s3cret"), null);
});

t.test("a token is made up once, and only its owner can read it", async (t) => {
  const file = join(await folder(t), "admin-token");
  const token = await keepToken(file, "");
  t.match(token, /^[A-Za-z0-9_-]{32}$/);
  t.equal(await readFile(file, "utf8"), `${token}\n`);
  t.equal((await stat(file)).mode & 0o777, 0o600);
  t.equal(await keepToken(file, ""), token, "the same ever after");
  t.not(await keepToken(join(await folder(t), "admin-token"), ""), token, "and nowhere else");
});

t.test("a token that is given replaces the one that was kept, for nobody else to read", async (t) => {
  const file = join(await folder(t), "admin-token");
  await writeFile(file, "old\n", { mode: 0o644 });
  t.equal(await keepToken(file, "given"), "given");
  t.equal(await readFile(file, "utf8"), "given\n");
  t.equal((await stat(file)).mode & 0o777, 0o600);
  t.equal(await keepToken(file, ""), "given");
});

t.test("a token that others could read is theirs no longer", async (t) => {
  const file = join(await folder(t), "admin-token");
  await writeFile(file, "kept\n", { mode: 0o644 });
  t.equal(await keepToken(file, ""), "kept");
  t.equal((await stat(file)).mode & 0o777, 0o600);
});

t.test("a file that can't be read is told, and not replaced", async (t) => {
  const dir = await folder(t);
  await t.rejects(keepToken(dir, ""), { code: "EISDIR" });
  await t.rejects(keepToken(join(dir, "missing", "admin-token"), ""), { code: "ENOENT" });
});

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "amphora-token-"));
  t.teardown(() => rm(dir, { recursive: true }));
  return dir;
}
