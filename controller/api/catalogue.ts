/** What belongs to the deployment: flavors, availability zones and their profiles. Administrators write it. */
import { randomUUID } from "node:crypto";
import type { Resource, Row } from "../model/resource.ts";
import { isDuplicate, type Store, type Trx } from "../store/database.ts";
import { insertRow, lockRow, newRow, untyped, updateRow } from "../store/rows.ts";
import { answer } from "./answers.ts";
import { valuesForCreate, valuesForUpdate } from "./body.ts";
import type { Engine } from "./engine.ts";
import { ApiError, notFound } from "./errors.ts";
import type { Caller } from "./identity.ts";
import { authorize } from "./policy.ts";

/** What refers to a row: as long as there is one, the row stays. */
export interface Use {
  readonly table: string;
  readonly column: string;
}

export interface CatalogueRules {
  readonly resource: Resource;
  /** below /v2.0/lbaas */
  readonly path: string;
  /** whether callers that are no administrators may read it */
  readonly isPublic: boolean;
  readonly usedBy: Use;
  /** what may be changed while it is in use; absent: everything */
  readonly mutableInUse?: readonly string[];
  /** checks values as they are to be, and keeps what they refer to until the transaction ends @throws {ApiError} 400 */
  check(store: Store, trx: Trx, values: Readonly<Record<string, unknown>>): Promise<void>;
}

export class Catalogue {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async create(
    { resource, check }: CatalogueRules,
    caller: Caller,
    root: Record<string, unknown>,
  ): Promise<Record<string, unknown>> {
    authorize(caller, "administer");
    const row = newRow(resource, { ...valuesForCreate(resource, root), id: randomUUID() });
    await this.#transaction(resource, row, async (trx) => {
      await check(this.#engine.options.store, trx, row);
      await insertRow(trx, resource, row);
    });
    return answer(resource, row);
  }

  async update(
    rules: CatalogueRules,
    caller: Caller,
    key: string,
    root: Record<string, unknown>,
  ): Promise<Record<string, unknown>> {
    authorize(caller, "administer");
    const { resource, mutableInUse } = rules;
    const patch = valuesForUpdate(resource, root);
    const row = await this.#transaction(resource, patch, async (trx) => {
      const before: Readonly<Record<string, unknown>> = await this.#lock(trx, resource, key);
      const after: Readonly<Record<string, unknown>> = { ...before, ...patch };
      const changed = Object.keys(patch).filter((field) => after[field] !== before[field]);
      const frozen = changed.filter((field) => mutableInUse !== undefined && !mutableInUse.includes(field));
      if (frozen.length > 0) await checkUnused(trx, rules, key, `its ${frozen.join(" and ")} cannot be modified`);
      await rules.check(this.#engine.options.store, trx, after);
      await updateRow(trx, resource, key, patch);
      return after;
    });
    return answer(resource, row);
  }

  async remove(rules: CatalogueRules, caller: Caller, key: string): Promise<void> {
    authorize(caller, "administer");
    const { resource } = rules;
    await this.#engine.options.store.transaction(async (trx) => {
      await this.#lock(trx, resource, key);
      await checkUnused(trx, rules, key, "it cannot be deleted");
      await untyped(trx).deleteFrom(resource.table).where(resource.key, "=", key).execute();
    });
  }

  async #lock(trx: Trx, resource: Resource, key: string): Promise<Row<Resource>> {
    const row = await lockRow(this.#engine.options.store, trx, resource, key, "update");
    if (row === undefined) throw notFound(resource.title, key);
    return row;
  }

  /** @throws {ApiError} 409 when another row has the name already */
  async #transaction<T>(
    resource: Resource,
    { name }: Readonly<Record<string, unknown>>,
    work: (trx: Trx) => Promise<T>,
  ): Promise<T> {
    try {
      return await this.#engine.options.store.transaction(work);
    } catch (error) {
      if (isDuplicate(error)) throw new ApiError(409, `A ${resource.title} of the name '${name}' already exists.`);
      throw error;
    }
  }
}

/** @throws {ApiError} 409 */
async function checkUnused(
  trx: Trx,
  { resource, usedBy }: CatalogueRules,
  key: string,
  consequence: string,
): Promise<void> {
  const user = await untyped(trx)
    .selectFrom(usedBy.table)
    .select(usedBy.column)
    .where(usedBy.column, "=", key)
    .limit(1)
    .executeTakeFirst();
  if (user !== undefined) throw new ApiError(409, `${resource.title} ${key} is in use and ${consequence}.`);
}
