/** Secrets and containers as clients see them: never with a payload. */
import type { Context } from "koa";
import type { Store } from "../../store/database.ts";
import { secretsIn } from "../../store/secrets.ts";
import type { ContainerRow, SecretRow } from "../../store/tables.ts";
import { origin } from "../requests.ts";
import type { Consumers } from "./consumers.ts";
import { hrefOf } from "./links.ts";
import { microversion } from "./versions.ts";

type View = Record<string, unknown>;

export class Views {
  readonly #store: Store;
  readonly #consumers: Consumers;

  constructor(store: Store, consumers: Consumers) {
    this.#store = store;
    this.#consumers = consumers;
  }

  /** A fixed number of statements. Older clients stumble over consumers. */
  async secrets(context: Context, rows: readonly SecretRow[]): Promise<View[]> {
    if (microversion(context) === "1.0") return rows.map((row) => secretView(context, row));
    const ids = rows.map((row) => row.id);
    const users = await this.#consumers.of("secrets", ids, origin(context));
    return rows.map((row) => ({ ...secretView(context, row), consumers: users.get(row.id) ?? [] }));
  }

  /** A fixed number of statements. */
  async containers(context: Context, rows: readonly ContainerRow[]): Promise<View[]> {
    const ids = rows.map((row) => row.id);
    const parts = await secretsIn(this.#store.db, ids);
    const users = await this.#consumers.of("containers", ids, origin(context));
    return rows.map((row) => ({
      ...containerView(context, row),
      secret_refs: (parts.get(row.id) ?? []).map(({ name, secret_id }) => ({
        name: name || null,
        secret_ref: hrefOf(context, "secrets", secret_id),
      })),
      consumers: users.get(row.id) ?? [],
    }));
  }
}

function secretView(context: Context, row: SecretRow): View {
  return {
    created: row.created_at,
    updated: row.updated_at,
    status: "ACTIVE",
    name: row.name,
    secret_type: row.secret_type,
    expiration: row.expiration,
    algorithm: row.algorithm,
    bit_length: row.bit_length,
    mode: row.mode,
    creator_id: row.creator_id,
    ...(row.content_type === null ? {} : { content_types: { default: row.content_type } }),
    secret_ref: hrefOf(context, "secrets", row.id),
  };
}

function containerView(context: Context, row: ContainerRow): View {
  return {
    created: row.created_at,
    updated: row.updated_at,
    status: "ACTIVE",
    name: row.name,
    type: row.type,
    creator_id: row.creator_id,
    container_ref: hrefOf(context, "containers", row.id),
  };
}
