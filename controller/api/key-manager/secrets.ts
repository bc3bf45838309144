/** Secrets: stored in one step or two, listed without their payloads, replaced, removed. */
import { randomUUID } from "node:crypto";
import { type Tls, TlsError } from "../../certificates/tls.ts";
import type { KeyManager } from "../../secrets/key-manager.ts";
import type { Vault } from "../../secrets/vault.ts";
import type { Store } from "../../store/database.ts";
import { timestamp } from "../../store/rows.ts";
import { listSecrets, removeSecret, type SecretQuery, type Window } from "../../store/secrets.ts";
import type { SecretRow } from "../../store/tables.ts";
import { usersOf } from "../../store/tls-uses.ts";
import { ApiError } from "../errors.ts";
import type { Caller } from "../identity.ts";
import { authorize } from "../policy.ts";
import { requireSecret } from "./access.ts";
import { parseBody, secretBody } from "./bodies.ts";
import { type Payload, payloadOf, payloadType } from "./payloads.ts";

export class Secrets {
  readonly #store: Store;
  readonly #vault: Vault;
  readonly #tls: Tls;

  constructor(store: Store, { vault, tls }: KeyManager) {
    this.#store = store;
    this.#vault = vault;
    this.#tls = tls;
  }

  /** @returns its id @throws {ApiError} 400, 403, 413 */
  async create(caller: Caller, body: unknown): Promise<string> {
    authorize(caller, "write-secrets");
    const given = parseBody(secretBody, body);
    const { payload: text, payload_content_type: type = null, payload_content_encoding: encoding = null } = given;
    if ((text === undefined || text === null) && type !== null) {
      throw new ApiError(400, "Invalid property payload_content_type: There is no payload.");
    }
    const payload = text === undefined || text === null ? null : payloadOf(text, type, encoding);
    const id = randomUUID();
    const now = timestamp();
    await this.#store.db
      .insertInto("secrets")
      .values({
        id,
        project_id: caller.projectId,
        creator_id: caller.userId,
        name: given.name ?? null,
        secret_type: given.secret_type,
        algorithm: given.algorithm ?? null,
        bit_length: given.bit_length ?? null,
        mode: given.mode ?? null,
        expiration: given.expiration ?? null,
        acl: null,
        created_at: now,
        updated_at: now,
        ...(payload === null ? { content_type: null, payload: null, version: null } : this.#sealed(id, payload)),
      })
      .execute();
    return id;
  }

  list(caller: Caller, query: SecretQuery, window: Window) {
    authorize(caller, "read-secrets");
    return listSecrets(this.#store.db, query, window);
  }

  /**
   * Gives a secret its payload, or another one: whoever refers to it then has that. (Barbican takes a first one only.)
   * @throws {ApiError} 404, 403; 400 when a listener or pool that refers to it could not use it
   */
  async setPayload(caller: Caller, id: string, payload: Payload): Promise<void> {
    const { project_id } = await requireSecret(this.#store, caller, id, "change");
    const uses = (await usersOf(this.#store.db, "secret", [id])).get(id) ?? [];
    await this.#tls.checkReplacement(uses, payload.bytes, project_id).catch((error: unknown) => {
      if (!(error instanceof TlsError)) throw error;
      const { kind, id: user, attribute } = error.use;
      throw new ApiError(400, `Invalid property payload: ${error.reason} (${kind} ${user} uses it, ${attribute}).`);
    });
    await this.#store.db
      .updateTable("secrets")
      .set({ ...this.#sealed(id, payload), updated_at: timestamp() })
      .where("id", "=", id)
      .execute();
  }

  /** @throws {ApiError} 404, 403; 404 when it has none */
  async payload(caller: Caller, id: string): Promise<Payload> {
    const { payload, content_type } = await requireSecret(this.#store, caller, id, "decrypt");
    const type = payloadType(content_type ?? "");
    if (payload === null || type === null) throw new ApiError(404, `Secret ${id} has no payload.`);
    return { type, bytes: this.#vault.open(id, payload) };
  }

  /** Whoever uses it keeps what they were given. @throws {ApiError} 404, 403 */
  async remove(caller: Caller, id: string): Promise<void> {
    await requireSecret(this.#store, caller, id, "change");
    await this.#store.transaction((trx) => removeSecret(trx, id));
  }

  #sealed(id: string, { type, bytes }: Payload): Pick<SecretRow, "content_type" | "payload" | "version"> {
    return { content_type: type, payload: this.#vault.seal(id, bytes), version: randomUUID() };
  }
}
