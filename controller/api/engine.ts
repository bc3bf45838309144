/** What every resource has in common: reading under the policy, and changing a load balancer as one transaction. */
import type { NetworkDriver } from "../drivers/network.ts";
import { type LoadBalancer, loadBalancer } from "../model/load-balancer.ts";
import type { Resource, Row } from "../model/resource.ts";
import { isSettled } from "../model/status.ts";
import type { Store, Trx } from "../store/database.ts";
import { lockLoadBalancer, raiseRevision } from "../store/load-balancers.ts";
import type { QuotaDefaults } from "../store/quotas.ts";
import { findRow } from "../store/rows.ts";
import type { Settling } from "../store/settling.ts";
import { answer, type Views } from "./answers.ts";
import { Change } from "./change.ts";
import { ApiError, BusyError, notFound } from "./errors.ts";
import type { Caller } from "./identity.ts";
import { type ListQuery, type Page, selectPage } from "./listing.ts";
import type { Defaults } from "./placement.ts";
import { type Action, authorize, mayEverywhere } from "./policy.ts";
import type { Services } from "./services.ts";

export interface EngineOptions {
  readonly store: Store;
  readonly network: NetworkDriver;
  readonly settling: Settling;
  /** ms that a write waits for a change under way */
  readonly settleWait: number;
  readonly quotas: QuotaDefaults;
  readonly defaults: Defaults;
  /** the sizes of amphorae that flavors may name */
  readonly computeFlavors: readonly string[];
  readonly services: Services;
}

export class Engine {
  readonly options: EngineOptions;

  constructor(options: EngineOptions) {
    this.options = options;
  }

  /**
   * Carries out a change of a load balancer or of a part of it in one transaction: all of it, or nothing. While another
   * change is under way, waits for that to settle.
   * @param action what the caller must be allowed to
   * @throws {ApiError} 404, 403, 409 when it stays busy, and what `work` throws
   */
  async change<T>(
    caller: Caller,
    loadBalancerId: string,
    work: (change: Change) => Promise<T>,
    { status = "PENDING_UPDATE", action = "write" }: ChangeKind = {},
  ): Promise<T> {
    const { settling, settleWait, store } = this.options;
    const deadline = Date.now() + settleWait;
    for (;;) {
      try {
        const result = await store.transaction(async (trx) => {
          const row = await lockLoadBalancer(store, trx, loadBalancerId);
          if (row === undefined) throw notFound(loadBalancer.title, loadBalancerId);
          authorize(caller, action, row.project_id);
          if (row.doomed && status !== "PENDING_DELETE") {
            throw new ApiError(409, `Load Balancer ${row.id} is being deleted.`);
          }
          checkSettled(row);
          const change = this.#begin(trx, caller, row, false);
          const result = await work(change);
          await change.write();
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

  /** Makes a load balancer, with whatever parts, in one transaction. @param make gives its row */
  async create<T>(
    caller: Caller,
    make: (trx: Trx) => Promise<LoadBalancer>,
    work: (change: Change) => Promise<T>,
  ): Promise<T> {
    const { store, settling } = this.options;
    const result = await store.transaction(async (trx) => {
      const row = await make(trx);
      const change = this.#begin(trx, caller, row, true);
      change.add(loadBalancer, row);
      const result = await work(change);
      await change.write();
      return result;
    });
    settling.wake();
    return result;
  }

  /**
   * A row that the caller may read, or do something else with.
   * @param within columns that the row must have these values in, such as the pool in the path
   * @throws {ApiError} 404, 403
   */
  async requireRow<R extends Resource>(
    resource: R,
    caller: Caller,
    id: string,
    within: Readonly<Record<string, unknown>> = {},
    action: Action = "read",
  ): Promise<Row<R>> {
    const row = await findRow(this.options.store.db, resource, id);
    const values: Readonly<Record<string, unknown>> = row ?? {};
    const there = row !== undefined && Object.entries(within).every(([column, value]) => values[column] === value);
    if (!there) {
      // whoever may read nothing is not told what there is
      authorize(caller, action);
      throw notFound(resource.title, id);
    }
    authorize(caller, action, typeof values.project_id === "string" ? values.project_id : undefined);
    return row;
  }

  /** @throws {ApiError} 403, also when another project's are asked for */
  async list(
    resource: Resource,
    caller: Caller,
    query: ListQuery,
    within: Readonly<Record<string, unknown>>,
    views: Views,
  ): Promise<Page> {
    const { db, dialect } = this.options.store;
    const page = await selectPage(db, dialect, resource, query, { ...within, ...ownProject(resource, caller, query) });
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

  #begin(trx: Trx, caller: Caller, row: LoadBalancer, isNew: boolean): Change {
    const { store, network, quotas } = this.options;
    return new Change({ trx, store, loadBalancer: row, isNew, network, caller, quotas });
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
}

export interface ChangeKind {
  readonly status?: "PENDING_UPDATE" | "PENDING_DELETE";
  readonly action?: Action;
}

/** What a list is restricted to. @throws {ApiError} 403 */
function ownProject(resource: Resource, caller: Caller, { filters }: ListQuery): Record<string, unknown> {
  if (mayEverywhere(caller, "read")) return {};
  if (!("project_id" in resource.attributes)) {
    authorize(caller, "read");
    return {};
  }
  const named = filters.find(({ column }) => column === "project_id")?.values ?? [];
  for (const project of [caller.projectId, ...named]) authorize(caller, "read", String(project));
  return { project_id: caller.projectId };
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
