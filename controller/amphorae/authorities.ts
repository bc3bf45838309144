/** The authorities of the deployment as this controller knows them, their keys opened: who signs, and who is trusted. */
import { createHash } from "node:crypto";
import type { Vault } from "../secrets/vault.ts";
import { type AuthorityRow, keepFirst, keepNext, listAuthorities } from "../store/authorities.ts";
import type { Store } from "../store/database.ts";
import { Authority, type AuthorityText, type Identity } from "./authority.ts";

/** The secret under which an authority's key is sealed. */
const sealId = (certificate: string) => `authority ${digestOf(certificate)}`;

export class Authorities {
  readonly #store: Store;
  readonly #vault: Vault;
  #rows: readonly AuthorityRow[] = [];
  #signing: Authority | null = null;

  private constructor(store: Store, vault: Vault) {
    this.#store = store;
    this.#vault = vault;
  }

  /** Reads them; where there is none, makes the first one. */
  static async open(store: Store, vault: Vault): Promise<Authorities> {
    const authorities = new Authorities(store, vault);
    if ((await listAuthorities(store.db)).length === 0) {
      await keepFirst(store, seal(vault, await (await Authority.make()).text()));
    }
    await authorities.refresh();
    return authorities;
  }

  /** Reads them again. @returns whether anything has changed */
  async refresh(): Promise<boolean> {
    const rows = await listAuthorities(this.#store.db);
    const signing = rows.find(({ state }) => state === "signing");
    if (signing === undefined) throw new Error("the deployment has no certificate authority");
    const isNew = this.#signing === null || stampOf(rows) !== this.stamp;
    const signer = isNew ? await Authority.from(open(this.#vault, signing)) : this.#signing;
    // at once: what is issued meanwhile is of one step, and so is its stamp
    this.#signing = signer;
    this.#rows = rows;
    return isNew;
  }

  get rows(): readonly AuthorityRow[] {
    return this.#rows;
  }

  /** The certificates of all that are trusted, PEM. */
  get trusted(): string {
    return trustedOf(this.#rows);
  }

  /** Tells who signs and who is trusted: another one after every step of a replacement. */
  get stamp(): string {
    return stampOf(this.#rows);
  }

  /** When the one that signs expires. */
  get expires(): Date {
    return this.#signer.expires;
  }

  issueController(days?: number): Promise<Identity> {
    return this.#signer.issueController(days, this.trusted);
  }

  issueAmphora(amphoraId: string, days: number): Promise<Identity> {
    return this.#signer.issueAmphora(amphoraId, days, this.trusted);
  }

  get #signer(): Authority {
    if (this.#signing === null) throw new Error("the authorities have not been read");
    return this.#signing;
  }
}

/** Begins to replace the authority; running controllers go on from there. @returns false: that is under way already */
export async function replaceAuthority(store: Store, vault: Vault): Promise<boolean> {
  return keepNext(store, seal(vault, await (await Authority.make()).text()));
}

function trustedOf(rows: readonly AuthorityRow[]): string {
  return rows.map(({ certificate }) => certificate.trim()).join("\n");
}

function stampOf(rows: readonly AuthorityRow[]): string {
  const signing = rows.find(({ state }) => state === "signing");
  return digestOf(`${signing?.certificate} ${trustedOf(rows)}`);
}

function seal(vault: Vault, { certificate, key }: AuthorityText): AuthorityText {
  return { certificate, key: vault.seal(sealId(certificate), Buffer.from(key)) };
}

function open(vault: Vault, { certificate, key }: AuthorityRow): AuthorityText {
  return { certificate, key: vault.open(sealId(certificate), key).toString() };
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
