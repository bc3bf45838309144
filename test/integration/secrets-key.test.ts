/** The key of the secrets: made once, the same for every controller, and never taken for another. */
import { randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { openVault } from "../../controller/secrets/key.ts";
import { SettingsError } from "../../controller/settings.ts";
import { databases } from "../support/postgres.ts";
import type { Scope } from "../support/scope.ts";

for (const database of databases(t)) {
  t.test(`${database.name}: the key is made at the first start, and found at the next`, async (t) => {
    const store = await database.open(t);
    const file = join(await folder(t), "secrets.key");
    const sealed = (await openVault(store, file)).seal("id", Buffer.from("x"));
    t.equal((await stat(file)).mode & 0o777, 0o600);
    t.match(await readFile(file, "utf8"), /^[A-Za-z0-9+/]{43}=\n$/);
    t.equal((await openVault(store, file)).open("id", sealed).toString(), "x");
  });

  t.test(`${database.name}: a second controller needs the first one's key`, async (t) => {
    const store = await database.open(t);
    const [first, second] = [join(await folder(t), "secrets.key"), join(await folder(t), "secrets.key")];
    await openVault(store, first);
    const start = () => openVault(store, second);
    await t.rejects(start(), {
      name: "SettingsError",
      message: /^secrets-key-file: .* is not there, and the database holds/,
    });
    await t.rejects(stat(second), { code: "ENOENT" }, "no other key was made");
    await writeFile(second, `${randomBytes(32).toString("base64")}\n`, { mode: 0o600 });
    await t.rejects(start(), { name: "SettingsError", message: /holds another key than the database's/ });
    await writeFile(second, await readFile(first));
    await start();
  });

  t.test(`${database.name}: of controllers that begin at the same time, those with another key give up`, async (t) => {
    const store = await database.open(t);
    const files = await Promise.all(Array.from({ length: 4 }, async () => join(await folder(t), "secrets.key")));
    const outcomes = await Promise.allSettled(files.map((file) => openVault(store, file)));
    const failures = outcomes.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
    t.equal(failures.length, 3);
    for (const failure of failures) t.type(failure, SettingsError);
  });

  t.test(`${database.name}: a file that can be no key, or that others may read, is refused`, async (t) => {
    const store = await database.open(t);
    const file = join(await folder(t), "key");
    const key = randomBytes(32).toString("base64");
    for (const text of ["", "x", key.slice(4), `${key}${key}`, key.replace("=", ""), randomBytes(32).toString("hex")]) {
      await writeFile(file, text, { mode: 0o600 });
      await t.rejects(openVault(store, file), { name: "SettingsError", message: /must hold 32 bytes in base64/ }, text);
    }
    for (const mode of [0o640, 0o604, 0o660]) {
      await writeFile(file, key);
      await chmod(file, mode);
      await t.rejects(openVault(store, file), { name: "SettingsError", message: /may be read or written by others/ });
    }
    await rm(file);
    await mkdir(file);
    await t.rejects(openVault(store, file), { name: "SettingsError", message: /is no file/ });
    await t.rejects(openVault(store, join(file, "x", "y")), { name: "SettingsError", message: /no such file/ });
  });
}

async function folder(t: Scope): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "amphora-key-"));
  t.teardown(() => rm(made, { recursive: true, force: true }));
  return made;
}
