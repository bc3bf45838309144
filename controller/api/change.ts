/**
 * One change of a load balancer, from its first check to the rows it writes. New rows are kept here until the end, so
 * that rules see them as if they were stored, and a body with hundreds of objects costs one statement per table.
 */
import type { NetworkDriver } from "../drivers/network.ts";
import type { LoadBalancer } from "../model/load-balancer.ts";
import type { Resource, Row } from "../model/resource.ts";
import { RESOURCES } from "../model/resources.ts";
import type { Store, Trx } from "../store/database.ts";
import { exceeded, type QuotaDefaults } from "../store/quotas.ts";
import { findRow, insertRows, selectRows, updateRow } from "../store/rows.ts";
import { ApiError } from "./errors.ts";
import type { Caller } from "./identity.ts";

/** Parts of the load balancer that a change concerns too: they are PENDING_UPDATE until it is carried out. */
export interface Concerned {
  readonly pools?: readonly string[];
  readonly listeners?: readonly string[];
  readonly l7policies?: readonly string[];
}

export interface ChangeOptions {
  readonly trx: Trx;
  readonly store: Store;
  /** locked until the transaction ends */
  readonly loadBalancer: LoadBalancer;
  /** whether the load balancer is being made: then the store holds no part of it */
  readonly isNew: boolean;
  readonly network: NetworkDriver;
  readonly caller: Caller;
  readonly quotas: QuotaDefaults;
}

type AnyRow = Record<string, unknown>;

export class Change {
  readonly trx: Trx;
  readonly loadBalancer: LoadBalancer;
  readonly network: NetworkDriver;
  readonly caller: Caller;
  readonly #options: ChangeOptions;
  readonly #added = new Map<string, Rows>();
  readonly #newIds = new Set<unknown>();
  readonly #learnt: { resource: Resource; covers: (values: AnyRow) => boolean; rows: Rows }[] = [];
  readonly #later: (() => Promise<void>)[] = [];
  readonly #concerned = new Map<keyof Concerned, Set<string>>();

  constructor(options: ChangeOptions) {
    this.trx = options.trx;
    this.loadBalancer = options.loadBalancer;
    this.network = options.network;
    this.caller = options.caller;
    this.#options = options;
  }

  /** A part of this load balancer, stored or new, whether or not it is to be removed. */
  async find<R extends Resource>(resource: R, id: string): Promise<Row<R> | undefined> {
    const added = this.#addedTo(resource).byId(id);
    if (added !== undefined || this.#options.isNew) return added as Row<R> | undefined;
    const learnt = this.#learnt.find((each) => each.resource === resource && each.rows.byId(id) !== undefined);
    if (learnt !== undefined) return learnt.rows.byId(id) as Row<R>;
    const row = await findRow(this.trx, resource, id);
    const owner: AnyRow = row ?? {};
    return owner.loadbalancer_id === this.loadBalancer.id ? row : undefined;
  }

  /** Every part of this load balancer with these values, stored or new, that is to stay. */
  async findAll<R extends Resource>(resource: R, values: Partial<Row<R>>): Promise<Row<R>[]> {
    const added = this.#addedTo(resource).having(values) as Row<R>[];
    // the store holds nothing that belongs to what is only being made
    if (this.#options.isNew || Object.values<unknown>(values).some((value) => this.#newIds.has(value))) return added;
    const known = this.#learnt.find((each) => each.resource === resource && each.covers(values));
    if (known !== undefined) return [...(known.rows.having(values) as Row<R>[]), ...added];
    const where = { ...values, loadbalancer_id: this.loadBalancer.id, doomed: false };
    return [...(await selectRows(this.trx, resource, where)), ...added];
  }

  /** The same, and remembers them: narrower questions, and those for one of them, are then answered without the store. */
  async learn<R extends Resource>(resource: R, values: Partial<Row<R>>): Promise<Row<R>[]> {
    const found = await this.findAll(resource, values);
    const rows = new Rows();
    for (const row of found) rows.add(row);
    const wanted = Object.entries(values);
    const covers = (asked: AnyRow) => wanted.every(([column, value]) => asked[column] === value);
    this.#learnt.push({ resource, covers, rows });
    return found;
  }

  /** New rows of a kind, in the order in which they were added. */
  added<R extends Resource>(resource: R): readonly Row<R>[] {
    return this.#addedTo(resource).rows as Row<R>[];
  }

  add<R extends Resource>(resource: R, row: Row<R>): void {
    const { id }: AnyRow = row;
    this.#newIds.add(id);
    this.#addedTo(resource).add(row);
  }

  /** Changes a row, stored or new. */
  async update<R extends Resource>(resource: R, id: string, patch: Partial<Row<R>>): Promise<void> {
    const added = this.#addedTo(resource);
    if (added.byId(id) !== undefined) return added.update(id, patch);
    await updateRow(this.trx, resource, id, patch);
    for (const learnt of this.#learnt) if (learnt.resource === resource) learnt.rows.update(id, patch);
  }

  /** Has something done once the new rows are stored: what refers to them, or looks for them in the store. */
  later(work: () => Promise<void>): void {
    this.#later.push(work);
  }

  concern(parts: Concerned): void {
    for (const [table, ids] of Object.entries(parts) as [keyof Concerned, readonly string[]][]) {
      const all = this.#concerned.get(table) ?? new Set();
      this.#concerned.set(table, all);
      for (const id of ids) all.add(id);
    }
  }

  /** Writes what was added, and marks what the change concerns. @throws {ApiError} 403 over quota */
  async write(): Promise<void> {
    await this.#checkQuotas();
    for (const resource of RESOURCES) await insertRows(this.trx, resource, this.added(resource));
    for (const work of this.#later) await work();
    for (const [table, ids] of this.#concerned) {
      if (ids.size === 0) continue;
      await this.trx
        .updateTable(table)
        .set({ provisioning_status: "PENDING_UPDATE" })
        .where("id", "in", [...ids])
        // what was just made is PENDING_CREATE
        .where("provisioning_status", "in", ["ACTIVE", "ERROR"])
        .where("doomed", "=", false)
        .execute();
    }
  }

  async #checkQuotas(): Promise<void> {
    const { store, quotas } = this.#options;
    const limited = RESOURCES.filter((resource) => resource.quota !== null && this.added(resource).length > 0);
    const more = new Map(
      limited.flatMap((each) => (each.quota ? [[each.quota, this.added(each).length] as const] : [])),
    );
    const over = await exceeded(store, this.trx, this.loadBalancer.project_id, more, quotas);
    if (over.length === 0) return;
    const titles = limited.filter(({ quota }) => quota && over.includes(quota)).map(({ title }) => title);
    throw new ApiError(403, `Quota has been met for resources: ${titles.join(", ")}`);
  }

  #addedTo(resource: Resource): Rows {
    const added = this.#added.get(resource.table) ?? new Rows();
    this.#added.set(resource.table, added);
    return added;
  }
}

/** Rows of one table, found by any of their columns without looking at all of them. */
class Rows {
  readonly rows: AnyRow[] = [];
  readonly #ids = new Map<string, AnyRow>();
  /** columns -> their values -> the rows that have them */
  readonly #indices = new Map<string, Map<string, AnyRow[]>>();

  byId(id: string): AnyRow | undefined {
    return this.#ids.get(id);
  }

  add(row: AnyRow): void {
    this.rows.push(row);
    this.#ids.set(String(row.id), row);
    for (const [columns, index] of this.#indices) {
      const key = keyOf(columns.split(" "), row);
      const same = index.get(key);
      if (same === undefined) index.set(key, [row]);
      else same.push(row);
    }
  }

  update(id: string, patch: AnyRow): void {
    Object.assign(this.#ids.get(id) ?? {}, patch);
    this.#indices.clear();
  }

  having(values: AnyRow): readonly AnyRow[] {
    const columns = Object.keys(values);
    const name = columns.join(" ");
    let index = this.#indices.get(name);
    if (index === undefined) {
      index = Map.groupBy(this.rows, (row) => keyOf(columns, row));
      this.#indices.set(name, index);
    }
    return index.get(keyOf(columns, values)) ?? [];
  }
}

function keyOf(columns: readonly string[], row: AnyRow): string {
  return JSON.stringify(columns.map((column) => row[column]));
}
