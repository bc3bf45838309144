/** Secrets encrypted at rest: AES-256-GCM, each bound to what it is the payload of. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

export const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ALGORITHM = "aes-256-gcm";
/** The first byte of everything sealed, for a format that may come after this one. */
const FORMAT = 1;

/** What was sealed with another key or for another id, or was altered. */
export class VaultError extends Error {
  override readonly name = "VaultError";
}

export class Vault {
  readonly #key: Buffer;

  /** @param key 32 random bytes */
  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES) throw new RangeError(`the key has ${key.length} bytes, not ${KEY_BYTES}`);
    this.#key = Buffer.from(key);
  }

  /** Text that only this key opens, and only for the same id. */
  seal(id: string, content: Uint8Array): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, this.#key, nonce);
    cipher.setAAD(Buffer.from(id));
    const sealed = [cipher.update(content), cipher.final()];
    return Buffer.concat([Buffer.of(FORMAT), nonce, ...sealed, cipher.getAuthTag()]).toString("base64");
  }

  /** @throws {VaultError} */
  open(id: string, text: string): Buffer {
    const bytes = Buffer.from(text, "base64");
    const nonce = bytes.subarray(1, 1 + NONCE_BYTES);
    const tag = bytes.subarray(-TAG_BYTES);
    if (bytes[0] !== FORMAT || bytes.length < 1 + NONCE_BYTES + TAG_BYTES) throw notOurs(id);
    const decipher = createDecipheriv(ALGORITHM, this.#key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(id));
    decipher.setAuthTag(tag);
    try {
      return Buffer.concat([decipher.update(bytes.subarray(1 + NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    } catch {
      throw notOurs(id);
    }
  }

  /** A text that tells whether two vaults have the same key, and nothing else of it. */
  get fingerprint(): string {
    return Buffer.from(hkdfSync("sha256", this.#key, "", "amphora secrets key fingerprint", 16)).toString("hex");
  }
}

function notOurs(id: string): VaultError {
  return new VaultError(`what is kept under ${id} can't be decrypted: sealed with another key, or altered`);
}
