/** Who uses a secret or container: those who said so, and the listeners and pools that refer to it. */
import { randomUUID } from "node:crypto";
import type { TlsUse } from "../../model/tls-references.ts";
import type { Store } from "../../store/database.ts";
import { timestamp } from "../../store/rows.ts";
import { consumersOf } from "../../store/secrets.ts";
import { usersOf } from "../../store/tls-uses.ts";
import { ApiError } from "../errors.ts";
import type { Caller } from "../identity.ts";
import { requireContainer, requireSecret } from "./access.ts";
import { containerConsumerBody, parseBody, secretConsumerBody } from "./bodies.ts";
import type { Plural } from "./links.ts";

/** What Keystone's catalogue calls our service, and what Octavia signs with. */
const SERVICE = "load-balancer";

/** As answers show them. */
export type Consumer =
  | { readonly service: string; readonly resource_type: string; readonly resource_id: string }
  | { readonly name: string; readonly URL: string };

interface Said {
  readonly service: string;
  readonly resource_type: string;
  readonly resource: string;
}

export class Consumers {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** By ids. @param base where the load balancers' API is, such as http://127.0.0.1:9876 */
  async of(plural: Plural, ids: readonly string[], base: string): Promise<ReadonlyMap<string, readonly Consumer[]>> {
    const { db } = this.#store;
    const kind = kindOf(plural);
    const said = Map.groupBy(await consumersOf(db, kind, ids), (row) => row.used_id);
    const users = await usersOf(db, kind, ids);
    return new Map(
      ids.map((id) => {
        const named = [...(said.get(id) ?? []), ...uniqueUsers(users.get(id) ?? [], plural, base)];
        return [id, named.map((each) => shown(plural, each))];
      }),
    );
  }

  /** Saying it twice is saying it once. @throws {ApiError} 400, 404, 403 */
  async add(caller: Caller, plural: Plural, id: string, body: unknown): Promise<void> {
    await this.#require(caller, plural, id);
    const said = parse(plural, body);
    await this.#store.db
      .insertInto("secret_consumers")
      .values({
        id: randomUUID(),
        kind: kindOf(plural),
        used_id: id,
        project_id: caller.projectId,
        created_at: timestamp(),
        ...said,
      })
      .onConflict((conflict) =>
        conflict.columns(["kind", "used_id", "service", "resource_type", "resource"]).doNothing(),
      )
      .execute();
  }

  /** For who said it, and for the owner of the secret or container. @throws {ApiError} 400, 404, 403 */
  async remove(caller: Caller, plural: Plural, id: string, body: unknown): Promise<void> {
    const { project_id } = await this.#require(caller, plural, id);
    const { service, resource_type, resource } = parse(plural, body);
    const row = await this.#store.db
      .selectFrom("secret_consumers")
      .select(["id", "project_id"])
      .where("kind", "=", kindOf(plural))
      .where("used_id", "=", id)
      .where("service", "=", service)
      .where("resource_type", "=", resource_type)
      .where("resource", "=", resource)
      .executeTakeFirst();
    if (row === undefined) throw new ApiError(404, "Consumer not found.");
    if (![row.project_id, project_id].includes(caller.projectId)) {
      throw new ApiError(403, "Only the creator of a consumer, or the owner of what is used, can delete it.");
    }
    await this.#store.db.deleteFrom("secret_consumers").where("id", "=", row.id).execute();
  }

  #require(caller: Caller, plural: Plural, id: string) {
    return plural === "secrets"
      ? requireSecret(this.#store, caller, id, "read")
      : requireContainer(this.#store, caller, id, "read");
  }
}

function kindOf(plural: Plural): "secret" | "container" {
  return plural === "secrets" ? "secret" : "container";
}

/** A listener may refer to one secret several times. */
function uniqueUsers(uses: readonly TlsUse[], plural: Plural, base: string): Said[] {
  const users = new Map(uses.map(({ kind, id }) => [id, kind]));
  return [...users].map(([id, kind]) => ({
    service: SERVICE,
    resource_type: plural === "secrets" ? kind : "",
    resource: plural === "secrets" ? id : `${base}/v2.0/lbaas/${kind}s/${id}`,
  }));
}

function parse(plural: Plural, body: unknown): Said {
  if (plural === "containers") {
    const { name, URL: url } = parseBody(containerConsumerBody, body);
    return { service: name, resource_type: "", resource: url };
  }
  const { service, resource_type, resource_id } = parseBody(secretConsumerBody, body);
  return { service, resource_type, resource: resource_id };
}

function shown(plural: Plural, { service, resource_type, resource }: Said): Consumer {
  return plural === "containers" ? { name: service, URL: resource } : { service, resource_type, resource_id: resource };
}
