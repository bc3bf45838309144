/**
 * The last applied spec on the disk, which outlives a reboot. Private keys stand there only sealed (AES-256-GCM), under
 * a key that is made from the one the amphora shares with its controllers (HKDF, RFC 5869).
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import writeFileAtomic from "write-file-atomic";
import { z } from "zod";
import { type AmphoraSpec, SpecError } from "../templates/spec.ts";

const CIPHER = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

const sealedCertificates = z.looseObject({
  certificates: z.array(z.looseObject({ id: z.string(), private_key: z.string() })).default([]),
});

export class SpecFile {
  readonly #path: string;
  readonly #key: Buffer;

  /** @param secret of this amphora alone, 32 bytes or more */
  constructor(path: string, secret: Buffer) {
    this.#path = path;
    this.#key = Buffer.from(hkdfSync("sha256", secret, "", "amphora: private keys of the last spec", 32));
  }

  async write(spec: AmphoraSpec): Promise<void> {
    const certificates = spec.certificates.map((each) => ({
      ...each,
      private_key: this.#seal(each.private_key, each.id),
    }));
    await writeFileAtomic(this.#path, JSON.stringify({ ...spec, certificates }), { mode: 0o600 });
  }

  /**
   * The document as it was written, keys opened; null when there is none.
   * @throws {SyntaxError} it is no JSON @throws {SpecError} it is no spec's, or its keys were sealed by another amphora
   */
  async read(): Promise<unknown> {
    const text = await readFile(this.#path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (text === null) return null;
    const document = sealedCertificates.safeParse(JSON.parse(text));
    if (!document.success) throw new SpecError([{ path: "", message: "the last spec on disk is none" }]);
    const certificates = document.data.certificates.map((each, i) => ({
      ...each,
      private_key: this.#open(each.private_key, each.id, `certificates[${i}].private_key`),
    }));
    return { ...document.data, certificates };
  }

  /** @param name what the key belongs to: it can be opened as nothing else */
  #seal(text: string, name: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#key, nonce).setAAD(Buffer.from(name));
    const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64");
  }

  #open(text: string, name: string, path: string): string {
    const bytes = Buffer.from(text, "base64");
    try {
      const decipher = createDecipheriv(CIPHER, this.#key, bytes.subarray(0, NONCE_BYTES))
        .setAAD(Buffer.from(name))
        .setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      return decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES), undefined, "utf8") + decipher.final("utf8");
    } catch {
      throw new SpecError([{ path, message: "was not sealed by this amphora" }]);
    }
  }
}

/** A spec that may be shown. */
export function withoutKeys(spec: AmphoraSpec): object {
  return { ...spec, certificates: spec.certificates.map((each) => ({ ...each, private_key: null })) };
}
