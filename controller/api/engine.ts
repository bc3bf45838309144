/** What every resource has in common: showing, listing, making, changing and removing. */
import { randomUUID } from "node:crypto";
import type { NetworkDriver } from "../drivers/network.ts";
import { type LoadBalancer, loadBalancer } from "../model/load-balancer.ts";
import type { Resource, Row } from "../model/resource.ts";
import { isSettled } from "../model/status.ts";
import type { Store, Trx } from "../store/database.ts";
import { lockLoadBalancer, raiseRevision } from "../store/load-balancers.ts";
import { asRow, type Connection, findRow, insertRow, newRow, timestamp, updateRow } from "../store/rows.ts";
import type { Settling } from "../store/settling.ts";
import { valuesForCreate, valuesForUpdate } from "./body.ts";
import { ApiError, BusyError, invalidField, notFound } from "./errors.ts";
import { type Caller, isAdmin } from "./identity.ts";
import { type ListQuery, type Page, selectPage } from "./listing.ts";
import type { Concerned, PartRules, PathParameters, RuleContext } from "./rules/rules.ts";

export interface EngineOptions {
  readonly store: Store;
  readonly network: NetworkDriver;
  readonly settling: Settling;
  /** ms that a write waits for a change under way */
  readonly settleWait: number;
}

type Views = (
  db: Connection,
  rows: readonly Record<string, unknown>[],
) => Promise<ReadonlyMap<string, Record<string, unknown>>>;

export class Engine {
  readonly options: EngineOptions;

  constructor(options: EngineOptions) {
    this.options = options;
  }

  async createPart<R extends Resource>(
    rules: PartRules<R>,
    caller: Caller,
    root: Record<string, unknown>,
    parameters: PathParameters,
  ): Promise<Record<string, unknown>> {
    const { store } = this.options;
    const given = valuesForCreate(rules.resource, root);
    const home = await rules.home(store.db, given, parameters);
    const row = await this.change(caller, home, async (context) => {
      checkProject(given, context.loadBalancer);
      const row = newRow(rules.resource, {
        ...given,
        id: randomUUID(),
        project_id: context.loadBalancer.project_id,
        provisioning_status: "PENDING_CREATE",
        operating_status: "OFFLINE",
        created_at: timestamp(),
        loadbalancer_id: context.loadBalancer.id,
        ...(await rules.create(context, given, parameters)),
      });
      await insertRow(context.trx, rules.resource, row);
      await rules.created?.(context, row, given);
      await markConcerned(context.trx, await rules.concerned(context, row));
      return row;
    });
    return this.present(rules.resource, row, viewsOf(rules));
  }

  async updatePart<R extends Resource>(
    rules: PartRules<R>,
    caller: Caller,
    id: string,
    root: Record<string, unknown>,
    within: Readonly<Record<string, unknown>>,
  ): Promise<Record<string, unknown>> {
    const patch = valuesForUpdate(rules.resource, root);
    const home = await this.#homeOf(rules, caller, id, within);
    const row = await this.change(caller, home, async (context) => {
      const row = await this.#requirePart(rules, context.trx, id);
      const changed: Partial<Row<R>> = { ...(await rules.update(context, row, patch)), ...pendingUpdate() };
      await updateRow(context.trx, rules.resource, id, changed);
      await markConcerned(context.trx, await rules.concerned(context, row));
      return { ...row, ...changed };
    });
    return this.present(rules.resource, row, viewsOf(rules));
  }

  async removePart<R extends Resource>(
    rules: PartRules<R>,
    caller: Caller,
    id: string,
    within: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const home = await this.#homeOf(rules, caller, id, within);
    await this.change(caller, home, async (context) => {
      const row = await this.#requirePart(rules, context.trx, id);
      await rules.remove(context, row);
      await markConcerned(context.trx, await rules.concerned(context, row));
      const doomed = { doomed: true, provisioning_status: "PENDING_DELETE" };
      await updateRow(context.trx, rules.resource, id, doomed as Partial<Row<Resource>>);
    });
  }

  /**
   * Carries out a change of a load balancer or of a part of it in one transaction: all of it, or nothing. While another
   * change is under way, waits for that to settle.
   * @throws {ApiError} 404, 403, 409 when it stays busy, and what `work` throws
   */
  async change<T>(
    caller: Caller,
    loadBalancerId: string,
    work: (context: RuleContext) => Promise<T>,
    status: "PENDING_UPDATE" | "PENDING_DELETE" = "PENDING_UPDATE",
  ): Promise<T> {
    const { settling, settleWait, store, network } = this.options;
    const deadline = Date.now() + settleWait;
    for (;;) {
      try {
        const result = await store.transaction(async (trx) => {
          const row = await lockLoadBalancer(store, trx, loadBalancerId);
          if (row === undefined) throw notFound(loadBalancer.title, loadBalancerId);
          authorize(caller, row.project_id);
          if (row.doomed && status !== "PENDING_DELETE") {
            throw new ApiError(409, `Load Balancer ${row.id} is being deleted.`);
          }
          checkSettled(row);
          const result = await work({ trx, loadBalancer: row, network });
          await raiseRevision(trx, row.id, status);
          return result;
        });
        settling.wake();
        return result;
      } catch (error) {
        if (!(error instanceof BusyError) || Date.now() >= deadline) throw error;
        await this.#settled(loadBalancerId, deadline);
      }
    }
  }

  /** Waits until the load balancer is settled or gone, or the time has come. Locks nothing: others are to get on. */
  async #settled(loadBalancerId: string, deadline: number): Promise<void> {
    const { settling, store } = this.options;
    for (let left = deadline - Date.now(); left > 0; left = deadline - Date.now()) {
      await settling.wait(loadBalancerId, left);
      const row = await findRow(store.db, loadBalancer, loadBalancerId);
      if (row === undefined || isSettled(row.provisioning_status)) return;
    }
  }

  /**
   * @param within columns that the row must have these values in, such as the pool in the path
   * @throws {ApiError} 404, 403
   */
  async requireRow<R extends Resource>(
    resource: R,
    caller: Caller,
    id: string,
    within: Readonly<Record<string, unknown>> = {},
  ): Promise<Row<R>> {
    const row = await findRow(this.options.store.db, resource, id);
    const values: Readonly<Record<string, unknown>> = row ?? {};
    const there = row !== undefined && Object.entries(within).every(([column, value]) => values[column] === value);
    if (!there) throw notFound(resource.title, id);
    if (typeof values.project_id === "string") authorize(caller, values.project_id);
    return row;
  }

  async list(
    resource: Resource,
    caller: Caller,
    query: ListQuery,
    within: Readonly<Record<string, unknown>>,
    views: Views,
  ): Promise<Page> {
    const { db } = this.options.store;
    const own = "project_id" in resource.attributes && !isAdmin(caller) ? { project_id: caller.projectId } : {};
    const page = await selectPage(db, resource, query, { ...within, ...own });
    const extra = await views(db, page.rows);
    return {
      ...page,
      rows: page.rows.map((row) => answer(resource, row, extra.get(String(row.id)), query.fields)),
    };
  }

  async present<R extends Resource>(
    resource: R,
    row: Row<R>,
    views: Views,
    fields: ReadonlySet<string> | null = null,
  ): Promise<Record<string, unknown>> {
    const values: Readonly<Record<string, unknown>> = row;
    const extra = await views(this.options.store.db, [values]);
    return answer(resource, values, extra.get(String(values.id)), fields);
  }

  async #homeOf<R extends Resource>(
    rules: PartRules<R>,
    caller: Caller,
    id: string,
    within: Readonly<Record<string, unknown>>,
  ): Promise<string> {
    const row: Readonly<Record<string, unknown>> = await this.requireRow(rules.resource, caller, id, within);
    return String(row.loadbalancer_id);
  }

  async #requirePart<R extends Resource>(rules: PartRules<R>, trx: Trx, id: string): Promise<Row<R>> {
    const row = await findRow(trx, rules.resource, id);
    const values: Readonly<Record<string, unknown>> = row ?? {};
    if (row === undefined) throw notFound(rules.resource.title, id);
    if (values.doomed === true) throw new ApiError(409, `${rules.resource.title} ${id} is being deleted.`);
    return row;
  }
}

export function viewsOf<R extends Resource>(rules: PartRules<R>): Views {
  return (db, rows) =>
    rules.views(
      db,
      rows.map((row) => asRow(rules.resource, row)),
    );
}

/** @throws {ApiError} 403 */
export function authorize(caller: Caller, projectId: string): void {
  if (isAdmin(caller) || caller.projectId === projectId) return;
  throw new ApiError(403, "Policy does not allow this request to be performed.");
}

/** @throws {BusyError} */
function checkSettled(row: LoadBalancer): void {
  if (!isSettled(row.provisioning_status)) {
    throw new BusyError(
      row.id,
      `Load Balancer ${row.id} is immutable and cannot be updated: it is ${row.provisioning_status}.`,
    );
  }
}

/**
 * Parts belong to the project of their load balancer; saying so is allowed.
 * @throws {ApiError} 400
 */
function checkProject(given: Readonly<Record<string, unknown>>, { project_id }: LoadBalancer): void {
  const named = given.project_id;
  if (named === undefined || named === "" || named === project_id) return;
  throw invalidField("project_id", named, "It must be the load balancer's project.");
}

function pendingUpdate() {
  return { provisioning_status: "PENDING_UPDATE", updated_at: timestamp() } as const;
}

async function markConcerned(trx: Trx, { pools = [], listeners = [] }: Concerned): Promise<void> {
  for (const [table, ids] of [
    ["pools", pools],
    ["listeners", listeners],
  ] as const) {
    if (ids.length === 0) continue;
    await trx
      .updateTable(table)
      .set({ provisioning_status: "PENDING_UPDATE" })
      .where("id", "in", ids)
      .where("doomed", "=", false)
      .execute();
  }
}

/** A row as clients see it: attributes in the order of their declaration, nothing hidden, `tenant_id` at the end. */
export function answer(
  resource: Resource,
  row: Readonly<Record<string, unknown>>,
  views: Readonly<Record<string, unknown>> = {},
  fields: ReadonlySet<string> | null = null,
): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  const put = (name: string, value: unknown) => {
    if (fields === null || fields.has(name)) shown[name] = value;
  };
  for (const [name, attribute] of Object.entries(resource.attributes)) {
    if (attribute.hidden) continue;
    put(name, attribute.column === null ? (views[name] ?? attribute.default ?? null) : row[name]);
  }
  if ("project_id" in resource.attributes) put("tenant_id", row.project_id);
  return shown;
}
