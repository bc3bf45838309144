/** The key that secrets are encrypted with: a file that only its owner may read, and that every controller has. */
import { randomBytes } from "node:crypto";
import { link, readFile, rm, stat, writeFile } from "node:fs/promises";
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
  let kept = await readKey(file);
  if (kept === null && (await readFact(store, FACT)) !== null) {
    throw new SettingsError(
      `secrets-key-file: ${file} is not there, and the database holds secrets: copy it from another controller, or from a backup`,
    );
  }
  if (kept === null) {
    await writeKey(file, randomBytes(KEY_BYTES));
    kept = await readKey(file);
  }
  if (kept === null) throw new SettingsError(`secrets-key-file: ${file} was removed while it was read`);
  const vault = new Vault(kept);
  if ((await claimFact(store, FACT, vault.fingerprint)) !== vault.fingerprint) {
    throw new SettingsError(
      `secrets-key-file: ${file} holds another key than the database's secrets are encrypted with: every controller needs the same file`,
    );
  }
  return vault;
}

/** Another controller may begin at the same time: the first one's key is the key. */
async function writeKey(file: string, key: Buffer): Promise<void> {
  const draft = `${file}.${process.pid}`;
  try {
    await writeFile(draft, `${key.toString("base64")}\n`, { mode: MODE, flush: true });
    await link(draft, file);
  } catch (error) {
    if (!isThere(error)) throw new SettingsError(`secrets-key-file: ${error instanceof Error ? error.message : error}`);
  } finally {
    await rm(draft, { force: true });
  }
}

function isThere(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EEXIST";
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
