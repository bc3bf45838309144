/** Quotas of projects: shown, listed with what is in use, set, and set back. */
import { projectId as projectIdRule } from "../model/common.ts";
import { OTHER_SPELLINGS, quotaAttributes, spelled } from "../model/quota.ts";
import { QUOTA_NAMES, type QuotaName } from "../model/resource.ts";
import { NO_QUOTAS, type QuotaRow, quotasOf, usage } from "../store/quotas.ts";
import { readValue } from "./body.ts";
import type { Engine } from "./engine.ts";
import { ApiError, invalidField, shortened } from "./errors.ts";
import type { Caller } from "./identity.ts";
import type { ListQuery, Page } from "./listing.ts";
import { authorize, mayEverywhere } from "./policy.ts";

type Shown = Record<string, unknown>;

export class Quotas {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  defaults(caller: Caller): Shown {
    authorize(caller, "read-quota");
    return spelled(this.#engine.options.quotas);
  }

  async show(caller: Caller, projectId: string): Promise<Shown> {
    authorize(caller, "read-quota", checkProject(projectId));
    const { store, quotas } = this.#engine.options;
    const own = await quotasOf(store.db, projectId);
    return spelled(valuesBy((name) => own[name] ?? quotas[name]));
  }

  /** Projects that have limits of their own, or anything at all. @throws {ApiError} 403, 400 for a marker that is none */
  async list(caller: Caller, query: ListQuery): Promise<Page> {
    const named = query.filters.flatMap(({ values }) => values.map(String));
    const everywhere = mayEverywhere(caller, "read-quota");
    const only = named.length > 0 || everywhere ? named : [caller.projectId];
    if (!everywhere) for (const project of only) authorize(caller, "read-quota", project);
    const found = await this.#projects(only, query);
    const projects = found.slice(0, query.limit);
    if (query.reverse) projects.reverse();
    return { rows: await this.#rows(projects), ids: projects, more: found.length > query.limit };
  }

  async set(caller: Caller, projectId: string, root: Readonly<Record<string, unknown>>): Promise<Shown> {
    authorize(caller, "write-quota", checkProject(projectId));
    const patch = readQuota(root);
    const { store } = this.#engine.options;
    await store.db
      .insertInto("quotas")
      .values({ ...NO_QUOTAS, ...patch, project_id: projectId })
      .onConflict((conflict) => conflict.column("project_id").doUpdateSet({ project_id: projectId, ...patch }))
      .execute();
    return this.show(caller, projectId);
  }

  async reset(caller: Caller, projectId: string): Promise<void> {
    authorize(caller, "write-quota", checkProject(projectId));
    await this.#engine.options.store.db.deleteFrom("quotas").where("project_id", "=", projectId).execute();
  }

  /** @param only these, unless there are none of them */
  async #projects(only: readonly string[], { marker, limit, reverse, sort }: ListQuery): Promise<string[]> {
    const { db } = this.#engine.options.store;
    const ascending = sort[0]?.descending === reverse;
    const rows = await db
      .selectFrom((eb) =>
        eb
          .selectFrom("quotas")
          .select("project_id")
          .union(eb.selectFrom("load_balancers").select("project_id"))
          .as("projects"),
      )
      .select("project_id")
      .$if(only.length > 0, (query) => query.where("project_id", "in", only))
      .$if(marker !== null, (query) => query.where("project_id", ascending ? ">" : "<", checkMarker(marker ?? "")))
      .orderBy("project_id", ascending ? "asc" : "desc")
      .limit(limit + 1)
      .execute();
    return rows.map((row) => row.project_id);
  }

  /** One query for the limits, and one for each kind that is counted. */
  async #rows(projects: readonly string[]): Promise<Shown[]> {
    if (projects.length === 0) return [];
    const { db } = this.#engine.options.store;
    const own = await db.selectFrom("quotas").selectAll().where("project_id", "in", projects).execute();
    const byProject = new Map<string, QuotaRow>(own.map((row) => [row.project_id, row]));
    const counts = new Map<QuotaName, Map<string, number>>();
    for (const name of QUOTA_NAMES) counts.set(name, await usage(db, name, projects));
    return projects.map((project) => ({
      project_id: project,
      ...spelled(valuesBy((name) => byProject.get(project)?.[name] ?? null)),
      ...Object.fromEntries(QUOTA_NAMES.map((name) => [`in_use_${name}`, counts.get(name)?.get(project) ?? null])),
      tenant_id: project,
    }));
  }
}

function valuesBy<T>(value: (name: QuotaName) => T): Record<QuotaName, T> {
  return Object.fromEntries(QUOTA_NAMES.map((name) => [name, value(name)])) as Record<QuotaName, T>;
}

/** @throws {ApiError} 400 naming the attribute */
function readQuota(root: Readonly<Record<string, unknown>>): Partial<Record<QuotaName, number | null>> {
  const patch: Partial<Record<QuotaName, number | null>> = {};
  for (const [key, value] of Object.entries(root)) {
    const name = QUOTA_NAMES.find((each) => each === key || OTHER_SPELLINGS[each] === key);
    if (name === undefined) throw new ApiError(400, `Unknown attribute for argument quota: ${shortened(key)}`);
    const limit = value === null ? null : Number(readValue(key, quotaAttributes[name], value));
    if (patch[name] !== undefined && patch[name] !== limit) {
      throw invalidField(key, value, "Its other spelling says something else.");
    }
    patch[name] = limit;
  }
  return patch;
}

/** @throws {ApiError} 400 */
function checkMarker(id: string): string {
  if (projectIdRule.safeParse(id).success) return id;
  throw invalidField("marker", id, "It must be a project's id.");
}

/** @throws {ApiError} 400 */
function checkProject(id: string): string {
  if (projectIdRule.safeParse(id).success) return id;
  throw invalidField("project_id", id, "It must be a project's id.");
}
