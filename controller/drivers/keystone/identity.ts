/** Tokens of Keystone: each is shown to it once, and its answer is believed for a while. */
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Logger } from "pino";
import { ApiError } from "../../api/errors.ts";
import type { Caller, IdentityDriver } from "../../api/identity.ts";
import { KeystoneClient, KeystoneError, type KeystoneOptions } from "./client.ts";

/** Tokens that are remembered; of more, those that were used last. */
const CAPACITY = 10_000;
/** How long a token is remembered to be nobody's (ms). */
const NOBODYS_LIMIT = 10_000;
/** What a header may hold; nothing else is a token. */
const TOKEN = /^[\x21-\x7e]+$/;

export interface KeystoneIdentityOptions extends KeystoneOptions {
  /** how long Keystone's answer is believed: so long may a revoked token go on (ms) */
  readonly cacheLimit: number;
  readonly log: Logger;
}

export class KeystoneIdentity implements IdentityDriver {
  readonly authUrl: string;
  readonly #client: KeystoneClient;
  readonly #log: Logger;
  /** by digest: a token itself is nowhere kept */
  readonly #cache: LRUCache<string, { readonly caller: Caller | null }, string>;
  /** what is wrong with Keystone, as the log has it already */
  #trouble: string | null = null;

  constructor(options: KeystoneIdentityOptions) {
    this.authUrl = options.authUrl;
    this.#client = new KeystoneClient(options);
    this.#log = options.log;
    const { cacheLimit } = options;
    this.#cache = new LRUCache({
      max: CAPACITY,
      ttl: 1,
      // those who wait for an answer get it, even if there are too many to remember it
      ignoreFetchAbort: true,
      allowStaleOnFetchAbort: true,
      fetchMethod: async (_digest, _stale, { options: entry, context: token }) => {
        const shown = await this.#asking(this.#client.validate(token));
        const limit = shown === null ? NOBODYS_LIMIT : shown.expiresAt - Date.now();
        entry.ttl = Math.max(1, Math.min(cacheLimit, limit));
        return { caller: shown?.caller ?? null };
      },
    });
  }

  async authenticate(token: string): Promise<Caller | null> {
    if (!TOKEN.test(token)) return null;
    const key = createHash("sha256").update(token).digest("base64");
    const entry = await this.#cache.fetch(key, { context: token });
    return entry?.caller ?? null;
  }

  /** Finds out ahead of the first request whether Keystone can be asked. What is wrong stands in the log. */
  async prepare(): Promise<void> {
    await this.#asking(this.#client.prepare()).catch(() => undefined);
  }

  close(): void {
    this.#client.close();
  }

  /** @throws {ApiError} 503 */
  async #asking<T>(work: Promise<T>): Promise<T> {
    try {
      const result = await work;
      if (this.#trouble !== null) this.#log.info("Keystone can be asked again");
      this.#trouble = null;
      return result;
    } catch (error) {
      if (!(error instanceof KeystoneError)) throw error;
      if (this.#trouble !== error.message) this.#log.warn({ reason: error.message }, "Keystone can't be asked");
      this.#trouble = error.message;
      throw new ApiError(503, error.refused ? REFUSED : AWAY);
    }
  }
}

const AWAY =
  "The identity service (Keystone) does not answer as it should: the token can't be checked now. Try again later.";
const REFUSED =
  "The identity service (Keystone) does not let this service check tokens: the token can't be checked until an operator has seen to it.";
