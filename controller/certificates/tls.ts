/** From what listeners and pools refer to, to the certificates that their TLS is made of. */
import { createHash } from "node:crypto";
import type { Reader, SecretsDriver, Stored } from "../drivers/secrets.ts";
import { parseReference } from "../model/secret-reference.ts";
import type { TlsUse } from "../model/tls-references.ts";
import {
  type Authorities,
  checkIssuers,
  checkUpToDate,
  type Revocations,
  readAuthorities,
  readRevocations,
} from "./authority.ts";
import { type Certificate, checkValidity } from "./certificate.ts";
import { CertificateError } from "./fault.ts";
import type { CertificateReader } from "./reader.ts";

/** What a reference leads to can't be had, or can't be used. The message names listener or pool, and attribute. */
export class TlsError extends Error {
  override readonly name = "TlsError";
  readonly use: TlsUse;
  /** what is wrong, without the place; null: there is nothing under the reference, or it is not for the reader */
  readonly reason: string | null;

  constructor(use: TlsUse, reason: string | null) {
    const { kind, id, attribute, reference } = use;
    const fault = reason ?? "It can't be retrieved: it is gone, has no payload, or must not be read";
    super(`${kind} ${id}, ${attribute} ${reference}: ${fault}`);
    this.use = use;
    this.reason = reason;
  }
}

/** When something that a listener or pool uses ceases to be valid. */
export interface Expiry extends Pick<TlsUse, "kind" | "id" | "attribute"> {
  /** ISO 8601 */
  readonly expires_at: string;
}

/** What a load balancer's TLS is made of, by the references to it. */
export interface TlsMaterial {
  /** each under an id that stays the same as long as the reference does */
  readonly certificates: ReadonlyMap<string, Certificate & { readonly id: string }>;
  /** PEM texts of authorities and of lists of revoked certificates */
  readonly texts: ReadonlyMap<string, string>;
  /** changes whenever any of it does; null: there is nothing */
  readonly digest: string | null;
  readonly expiries: readonly Expiry[];
}

export const NO_TLS: TlsMaterial = { certificates: new Map(), texts: new Map(), digest: null, expiries: [] };

type Read = Certificate | Authorities | Revocations;

export class Tls {
  readonly #driver: SecretsDriver;
  readonly #reader: CertificateReader;

  constructor(driver: SecretsDriver, reader: CertificateReader) {
    this.#driver = driver;
    this.#reader = reader;
  }

  /**
   * Checks what one listener or pool is to use, for whoever asks for it.
   * @throws {TlsError} @throws {Error} when the key manager can't be asked
   */
  async check(uses: readonly TlsUse[], reader: Reader, now = new Date()): Promise<void> {
    const read = await this.#read(uses, reader);
    for (const [use, each] of read) {
      await attempt(use, async () => {
        if ("notAfter" in each) checkValidity(each, now);
        if ("lists" in each) checkUpToDate(each, now);
      });
    }
    await checkPairs(read);
  }

  /**
   * Checks what is to take the place of a secret that is in use.
   * @param project whose secret it is
   * @throws {TlsError} naming a listener or pool that could not use it
   */
  async checkReplacement(
    uses: readonly TlsUse[],
    payload: Uint8Array,
    project: string,
    now = new Date(),
  ): Promise<void> {
    for (const use of uses) {
      await attempt(use, async () => {
        const read = await this.#readOne(use, { kind: "secret", version: "", payload }, project);
        if ("notAfter" in read) checkValidity(read, now);
        if ("lists" in read) checkUpToDate(read, now);
      });
    }
  }

  /**
   * Everything that a load balancer's listeners and pools use, as it is now, valid or not.
   * @param project whose load balancer it is
   * @param isPaired whether lists of revoked certificates must be those of the authorities beside them
   * @throws {TlsError} @throws {Error} when the key manager can't be asked
   */
  async material(uses: readonly TlsUse[], project: string, isPaired = false): Promise<TlsMaterial> {
    if (uses.length === 0) return NO_TLS;
    const stored = await this.#driver.read(referencesOf(uses));
    const read = await this.#readAll(uses, stored, project);
    if (isPaired) await checkPairs(read);
    const certificates = new Map<string, Certificate & { readonly id: string }>();
    const texts = new Map<string, string>();
    const expiries: Expiry[] = [];
    for (const [{ kind, id, attribute, reference }, each] of read) {
      if ("private_key" in each) certificates.set(reference, { ...each, id: parseReference(reference)?.id ?? "" });
      else texts.set(reference, each.pem);
      const expires = "notAfter" in each ? each.notAfter : "lists" in each ? each.nextUpdate : null;
      if (expires !== null) expiries.push({ kind, id, attribute, expires_at: expires.toISOString() });
    }
    const versions = new Map([...stored].map(([reference, { version }]) => [reference, version]));
    return { certificates, texts, expiries, digest: digestOf(uses, versions) };
  }

  /** Of several load balancers, what `material` would give as the digest now; null where something is missing. */
  async digests<K>(uses: ReadonlyMap<K, readonly TlsUse[]>): Promise<Map<K, string | null>> {
    const versions = await this.#driver.versions(referencesOf([...uses.values()].flat()));
    return new Map([...uses].map(([key, each]) => [key, digestOf(each, versions)]));
  }

  close(): Promise<void> {
    return this.#reader.close();
  }

  async #read(uses: readonly TlsUse[], reader: Reader): Promise<Map<TlsUse, Read>> {
    return this.#readAll(uses, await this.#driver.read(referencesOf(uses), reader), reader.projectId);
  }

  async #readAll(
    uses: readonly TlsUse[],
    stored: ReadonlyMap<string, Stored>,
    project: string,
  ): Promise<Map<TlsUse, Read>> {
    const read = uses.map(async (use) => {
      const found = stored.get(use.reference);
      if (found === undefined) throw new TlsError(use, null);
      return [use, await attempt(use, () => this.#readOne(use, found, project))] as const;
    });
    return new Map(await Promise.all(read));
  }

  async #readOne({ purpose }: TlsUse, stored: Stored, project: string): Promise<Read> {
    if (purpose === "certificate") return this.#reader.read(stored, project);
    if (stored.kind === "container")
      throw new CertificateError("It is a container, and must be a secret with PEM text");
    return purpose === "authorities" ? readAuthorities(stored.payload) : readRevocations(stored.payload);
  }
}

/** @throws {TlsError} when a listener or pool has a list of revoked certificates that is not its authority's */
async function checkPairs(read: ReadonlyMap<TlsUse, Read>): Promise<void> {
  for (const [use, revocations] of read) {
    if (!("lists" in revocations)) continue;
    for (const [{ kind, id }, each] of read) {
      if (kind !== use.kind || id !== use.id || !("certificates" in each)) continue;
      await attempt(use, () => checkIssuers(revocations, each));
    }
  }
}

/** @throws {TlsError} for what is wrong with the certificate */
async function attempt<T>(use: TlsUse, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CertificateError) throw new TlsError(use, error.message);
    throw error;
  }
}

function referencesOf(uses: readonly TlsUse[]): string[] {
  return [...new Set(uses.map(({ reference }) => reference))];
}

function digestOf(uses: readonly TlsUse[], versions: ReadonlyMap<string, string>): string | null {
  const used = referencesOf(uses)
    .sort()
    .map((reference) => [reference, versions.get(reference)]);
  if (used.length === 0 || used.some(([, version]) => version === undefined)) return null;
  return createHash("sha256").update(JSON.stringify(used)).digest("base64");
}
