/** An agent takes only a certificate that is its own, signed by its authority, and valid now. */
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { IdentityError, parseIdentity, readIdentity, writeIdentity } from "../../agent/identity.ts";
import type { CertificateBundle } from "../../agent/protocol.ts";
import { Authority } from "../../controller/amphorae/authority.ts";
import { idOf } from "../support/specs.ts";

const ID = idOf("amphora");
const authority = await Authority.make();
const other = await Authority.make();

async function bundle(days = 30, id = ID): Promise<CertificateBundle> {
  return (await authority.issueAmphora(id, days)).bundle;
}

const good = await bundle();
const soon = -1 / 48; // half an hour ago: after the hour by which certificates are backdated

t.test("its own certificate is taken as it is", async (t) => {
  t.strictSame(parseIdentity(good, ID), good);
});

const FAULTS: Record<string, [document: unknown, message: RegExp]> = {
  "an expired certificate": [await bundle(soon), /^certificate: expired at \d{4}-/],
  "another's key": [{ ...good, key: (await bundle()).key }, /^key: is not the key of the certificate$/],
  "another authority": [{ ...good, ca: other.certificate }, /^certificate: is not signed by ca$/],
  "another amphora's certificate": [await bundle(30, idOf("amphora", 2)), /^certificate: does not name 11111111-/],
  "the controller's certificate": [(await authority.issueController()).bundle, /^certificate: does not name/],
  "no certificate": [{ ...good, certificate: "x" }, /^certificate: /],
  "no key": [{ ...good, key: good.certificate }, /^key: /],
  "no authority": [{ ...good, ca: good.key }, /^ca: /],
  "a missing field": [{ certificate: good.certificate, key: good.key }, /^ca: /],
  "an unknown field": [{ ...good, name: "x" }, /^bundle: .*name/],
  "a field of another type": [{ ...good, key: 7 }, /^key: /],
  "no object": ["x", /^bundle: /],
};

for (const [what, [document, message]] of Object.entries(FAULTS)) {
  t.test(`${what} is refused by name`, async (t) => {
    t.throws(() => parseIdentity(document, ID), IdentityError);
    t.throws(() => parseIdentity(document, ID), { message });
  });
}

t.test("a certificate whose time has not come is refused", async (t) => {
  const yesterday = Date.now() - 24 * 3600 * 1000;
  t.intercept(Date, "now", { value: () => yesterday });
  t.throws(() => parseIdentity(good, ID), { name: "IdentityError", message: /^certificate: is not valid before/ });
});

t.test("no message holds the key", async (t) => {
  for (const [document] of Object.values(FAULTS)) {
    try {
      parseIdentity(document, ID);
    } catch (error) {
      t.notMatch(String(error), good.key.split("\n")[1] ?? "");
    }
  }
});

t.test("what was written is read again, by root alone", async (t) => {
  const file = join(t.testdir(), "identity.json");
  await writeIdentity(file, good);
  t.strictSame(await readIdentity(file, ID), good);
  t.equal((await stat(file)).mode & 0o777, 0o600);
});

t.test("an agent starts with a certificate out of date: the load balancer does not depend on it", async (t) => {
  const file = join(t.testdir(), "identity.json");
  const expired = await bundle(soon);
  await writeIdentity(file, expired);
  t.strictSame(await readIdentity(file, ID), expired);
});

t.test("a file that is not there, or no JSON, is named", async (t) => {
  const file = join(t.testdir(), "identity.json");
  await t.rejects(readIdentity(file, ID), {
    name: "IdentityError",
    message: new RegExp(`^${file}: there is no such file`),
  });
  await writeFile(file, "{");
  await t.rejects(readIdentity(file, ID), { name: "IdentityError", message: new RegExp(`^${file}: .*JSON`) });
});
