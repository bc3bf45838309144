import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import t, { type Test } from "tap";
import { openIdentity, readIdentityFiles } from "../../controller/drivers/identities.ts";
import { checkSettings, SettingsError } from "../../controller/settings.ts";

const TOKEN = "5XhYhkZ0rYvT4mSgZ2Ww";
const LIST = `- { token: ${TOKEN}, user: alice, project: alpha, roles: [reader] }`;
const log = pino({ level: "silent" });

t.test("static: the administrator's token and those in the file are accepted", async (t) => {
  const file = await secret(t, LIST);
  const settings = checkSettings({ "tokens-file": file, "admin-project": "operators" });
  const identity = openIdentity(settings, await readIdentityFiles(settings), "admin-token", log);
  t.match(await identity.authenticate("admin-token"), { projectId: "operators", roles: ["admin"] });
  t.match(await identity.authenticate(TOKEN), { userId: "alice", projectId: "alpha", roles: ["reader"] });
  t.equal(await identity.authenticate("other"), null);
  t.equal(identity.authUrl, null);
  const alone = openIdentity(checkSettings({}), await readIdentityFiles(checkSettings({})), "admin-token", log);
  t.ok(await alone.authenticate("admin-token"), "without a file too");
});

t.test("a file of secrets must be there, and closed to others", async (t) => {
  const file = await secret(t, LIST);
  for (const mode of [0o604, 0o602, 0o601, 0o644, 0o666]) {
    await chmod(file, mode);
    t.match(await problem({ "tokens-file": file }), `tokens-file: ${file}: is open to other users`, mode.toString(8));
  }
  const link = `${file}-link`;
  await symlink(file, link);
  t.match(await problem({ "tokens-file": link }), `tokens-file: ${link}: is open to other users`, "through a link");
  for (const mode of [0o600, 0o400, 0o640]) {
    await chmod(file, mode);
    t.equal(await problem({ "tokens-file": file }), null, mode.toString(8));
  }
  t.equal(await problem({ "tokens-file": `${file}-missing` }), `tokens-file: ${file}-missing: there is no such file`);
  await mkdir(`${file}-dir`, { mode: 0o700 });
  t.equal(await problem({ "tokens-file": `${file}-dir` }), `tokens-file: ${file}-dir: is a folder`);
});

t.test("the administrator's token is nobody else's", async (t) => {
  const file = await secret(t, LIST);
  const message = await problem({ "tokens-file": file, "admin-token": TOKEN });
  t.equal(message, `tokens-file: ${file}: the administrator's token stands in it too`);
});

t.test("keystone: what is missing, or of no use, is told with its name", async (t) => {
  const password = await secret(t, "secret\n");
  const complete = { "auth-url": "https://keystone.example.org", "password-file": password };
  const settled = (keystone: object, more: object = {}) => problem({ identity: "keystone", keystone, ...more });
  t.equal(await settled(complete), null);
  t.match(await settled({ ...complete, "auth-url": "" }), "keystone.auth-url: must be set");
  t.match(await settled({ ...complete, "password-file": "" }), "keystone.password-file: must be set");
  t.match(await settled(complete, { "admin-token": "x" }), "admin-token: is of no use with identity keystone");
  t.match(await settled(complete, { "tokens-file": "x" }), "tokens-file: is of no use with identity keystone");
  const empty = await secret(t, "\n");
  t.equal(await settled({ ...complete, "password-file": empty }), `keystone.password-file: ${empty}: is empty`);
  await chmod(password, 0o644);
  t.match(await settled(complete), `keystone.password-file: ${password}: is open to other users`);
  await chmod(password, 0o600);
  t.match(await settled({ ...complete, "ca-file": password }), `keystone.ca-file: ${password}: `);
  t.match(await settled({ ...complete, "ca-file": "/nowhere" }), "keystone.ca-file: /nowhere: ");
});

async function secret(t: Test, text: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "amphora-secret-"));
  t.teardown(() => rm(dir, { recursive: true }));
  const file = join(dir, "secret");
  await writeFile(file, text, { mode: 0o600 });
  return file;
}

async function problem(given: Record<string, unknown>): Promise<string | null> {
  try {
    await readIdentityFiles(checkSettings(given));
  } catch (error) {
    if (error instanceof SettingsError) return error.message;
    throw error;
  }
  return null;
}
