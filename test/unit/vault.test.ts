/** Secrets at rest: what the database holds tells nothing, and takes no change. */
import { randomBytes, randomUUID } from "node:crypto";
import fc from "fast-check";
import t from "tap";
import { KEY_BYTES, Vault, VaultError } from "../../controller/secrets/vault.ts";

const key = randomBytes(KEY_BYTES);
const vault = new Vault(key);

t.test("what is sealed opens to the same bytes, and is never sealed to the same text", async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5000 }), fc.string(), (bytes, id) => {
      const sealed = vault.seal(id, bytes);
      return Buffer.from(bytes).equals(new Vault(key).open(id, sealed)) && vault.seal(id, bytes) !== sealed;
    }),
  );
});

t.test("the sealed text does not hold what was sealed", async (t) => {
  const text = "a passphrase that nobody else has";
  const sealed = Buffer.from(vault.seal("id", Buffer.from(text)), "base64");
  t.notOk(sealed.includes(text));
  t.equal(sealed.length, text.length + 1 + 12 + 16, "format, nonce and tag besides");
});

t.test("whatever is changed, nothing comes out", async (t) => {
  const sealed = Buffer.from(vault.seal("id", Buffer.from("secret")), "base64");
  for (let i = 0; i < sealed.length; i++) {
    const altered = Buffer.from(sealed);
    altered[i] = (altered[i] ?? 0) ^ 1;
    t.throws(() => vault.open("id", altered.toString("base64")), VaultError, `byte ${i}`);
  }
  for (let length = 0; length < sealed.length; length++) {
    t.throws(() => vault.open("id", sealed.subarray(0, length).toString("base64")), VaultError, `${length} bytes`);
  }
  t.throws(() => vault.open("id", "no base64 at all"), VaultError);
});

t.test("it opens with its key and under its id alone", async (t) => {
  const id = randomUUID();
  const sealed = vault.seal(id, Buffer.from("secret"));
  t.throws(() => vault.open(randomUUID(), sealed), {
    message: /can't be decrypted: sealed with another key, or altered$/,
  });
  t.throws(() => new Vault(randomBytes(KEY_BYTES)).open(id, sealed), VaultError);
  t.throws(() => new Vault(randomBytes(16)), RangeError);
});

t.test("a fingerprint tells keys apart, and is not the key", async (t) => {
  t.equal(vault.fingerprint, new Vault(key).fingerprint);
  t.not(vault.fingerprint, new Vault(randomBytes(KEY_BYTES)).fingerprint);
  t.notOk(key.toString("hex").includes(vault.fingerprint));
});
