/** Containers: secrets of one project that belong together, each under a name. */
import { randomUUID } from "node:crypto";
import { isDuplicate, type Store } from "../../store/database.ts";
import { timestamp } from "../../store/rows.ts";
import { findSecrets, listContainers, removeContainer, type Window } from "../../store/secrets.ts";
import type { ContainerRow } from "../../store/tables.ts";
import { ApiError } from "../errors.ts";
import type { Caller } from "../identity.ts";
import { authorize } from "../policy.ts";
import { requireContainer } from "./access.ts";
import { containerBody, containerSecretBody, parseBody } from "./bodies.ts";

export class Containers {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** @returns its id @throws {ApiError} 400, 403, 404 for secrets that are not there */
  async create(caller: Caller, body: unknown): Promise<string> {
    authorize(caller, "write-secrets");
    const { name = null, type, secret_refs: refs } = parseBody(containerBody, body);
    await this.#requireSecrets(caller, refs);
    const id = randomUUID();
    const now = timestamp();
    const times = { created_at: now, updated_at: now };
    const owner = { project_id: caller.projectId, creator_id: caller.userId };
    await this.#store.transaction(async (trx) => {
      await trx
        .insertInto("secret_containers")
        .values({ id, name, type, acl: null, ...owner, ...times })
        .execute();
      const parts = refs.map((ref) => ({ container_id: id, secret_id: ref.secret_ref, name: ref.name }));
      if (parts.length > 0) await trx.insertInto("container_secrets").values(parts).execute();
    });
    return id;
  }

  list(caller: Caller, equal: Partial<Pick<ContainerRow, "name" | "type">>, window: Window) {
    authorize(caller, "read-secrets");
    return listContainers(this.#store.db, caller.projectId, equal, window);
  }

  /** @throws {ApiError} 404, 403 */
  async remove(caller: Caller, id: string): Promise<void> {
    await requireContainer(this.#store, caller, id, "change");
    await this.#store.transaction((trx) => removeContainer(trx, id));
  }

  /** @throws {ApiError} 400 unless it is a generic one; 404, 403; 409 when it is in it by that name */
  async addSecret(caller: Caller, id: string, body: unknown): Promise<void> {
    const { name, secret_ref } = await this.#changed(caller, id, body);
    await this.#requireSecrets(caller, [{ name, secret_ref }]);
    await this.#store.db
      .insertInto("container_secrets")
      .values({ container_id: id, secret_id: secret_ref, name })
      .execute()
      .catch((error: unknown) => {
        if (isDuplicate(error)) throw new ApiError(409, "The secret is in the container already by that name.");
        throw error;
      });
  }

  /** @throws {ApiError} 400 unless it is a generic one; 404, 403 */
  async removeSecret(caller: Caller, id: string, body: unknown): Promise<void> {
    const { name, secret_ref } = await this.#changed(caller, id, body);
    const done = await this.#store.db
      .deleteFrom("container_secrets")
      .where("container_id", "=", id)
      .where("secret_id", "=", secret_ref)
      .where("name", "=", name)
      .executeTakeFirst();
    if (done.numDeletedRows === 0n) throw new ApiError(404, "The secret is not in the container by that name.");
  }

  async #changed(caller: Caller, id: string, body: unknown) {
    const { type } = await requireContainer(this.#store, caller, id, "change");
    if (type !== "generic")
      throw new ApiError(400, `Only generic containers can be modified, and this one is ${type}.`);
    return parseBody(containerSecretBody, body);
  }

  /** Of the caller's project: a container makes nothing readable that was not. */
  async #requireSecrets(caller: Caller, refs: readonly { readonly name: string; readonly secret_ref: string }[]) {
    const secrets = await findSecrets(
      this.#store.db,
      refs.map((ref) => ref.secret_ref),
    );
    for (const { name, secret_ref } of refs) {
      if (secrets.get(secret_ref)?.project_id === caller.projectId) continue;
      throw new ApiError(404, `The secret ${secret_ref}${name === "" ? "" : ` for '${name}'`} doesn't exist.`);
    }
  }
}
