/** The key that secrets are encrypted with: a file that only its owner may read, and that every controller has. */
import { randomBytes } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import writeFileAtomic from "write-file-atomic";
import { SettingsError } from "../settings.ts";
import type { Store } from "../store/database.ts";
import { claimFact, readFact } from "../store/deployment.ts";
import { KEY_BYTES, Vault } from "./vault.ts";

const FACT = "secrets-key-fingerprint";
const MODE = 0o600;
const OTHERS = 0o077;

/**
 * Opens the vault of a deployment. Where there are no secrets yet and no key, a key is made.
 * @param file holds 32 bytes, base64
 * @throws {SettingsError} when the file can't be a key, may be read by others, or is not the key of the database
 */
export async function openVault(store: Store, file: string): Promise<Vault> {
  const kept = await readKey(file);
  if (kept === null && (await readFact(store, FACT)) !== null) {
    throw new SettingsError(
      `secrets-key-file: ${file} is not there, and the database holds secrets: copy it from another controller, or from a backup`,
    );
  }
  const key = kept ?? randomBytes(KEY_BYTES);
  const vault = new Vault(key);
  // another controller may begin at the same time: the first one's key is the key
  if (kept === null) await writeKey(file, key);
  if ((await claimFact(store, FACT, vault.fingerprint)) !== vault.fingerprint) {
    throw new SettingsError(
      `secrets-key-file: ${file} holds another key than the database's secrets are encrypted with: every controller needs the same file`,
    );
  }
  return vault;
}

async function writeKey(file: string, key: Buffer): Promise<void> {
  await writeFileAtomic(file, `${key.toString("base64")}\n`, { mode: MODE }).catch((error: Error) => {
    throw new SettingsError(`secrets-key-file: ${error.message}`);
  });
}

async function readKey(file: string): Promise<Buffer | null> {
  const found = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw new SettingsError(`secrets-key-file: ${error.message}`);
  });
  if (found === null) return null;
  if (!found.isFile()) throw new SettingsError(`secrets-key-file: ${file} is no file`);
  if ((found.mode & OTHERS) !== 0) {
    throw new SettingsError(`secrets-key-file: ${file} may be read or written by others than its owner: chmod 600 it`);
  }
  const text = (await readFile(file, "utf8")).trim();
  const key = Buffer.from(text, "base64");
  if (key.length === KEY_BYTES && key.toString("base64") === text) return key;
  throw new SettingsError(
    `secrets-key-file: ${file} must hold ${KEY_BYTES} bytes in base64, as openssl rand -base64 ${KEY_BYTES} writes them`,
  );
}
