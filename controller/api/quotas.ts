/** Quotas of projects: shown, listed with what is in use, set, and set back. */
import { projectId as projectIdRule } from "../model/common.ts";
import { OTHER_SPELLINGS, quotaAttributes, spelled } from "../model/quota.ts";
import { QUOTA_NAMES, type QuotaName } from "../model/resource.ts";
import { NO_QUOTAS, type QuotaRow, quotasOf, usage } from "../store/quotas.ts";
import { readValue } from "./body.ts";
import type { Engine } from "./engine.ts";
import { ApiError, invalidField, shortened } from "./errors.ts";
import type { Caller } from "./identity.ts";
import { limit } from "./listing.ts";
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

  /** Projects that have limits of their own, or anything at all. */
  async list(caller: Caller, parameters: URLSearchParams): Promise<{ rows: Shown[]; next: string | null }> {
    const named = parameters.get("project_id") ?? parameters.get("tenant_id");
    if (!mayEverywhere(caller, "read-quota")) authorize(caller, "read-quota", named ?? caller.projectId);
    const only = mayEverywhere(caller, "read-quota") ? named : (named ?? caller.projectId);
    const most = limit(parameters);
    const projects = await this.#projects(only, parameters.get("marker") ?? "", most + 1);
    const shown = projects.slice(0, most);
    return { rows: await this.#rows(shown), next: projects.length > most ? (shown.at(-1) ?? null) : null };
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

  async #projects(only: string | null, after: string, most: number): Promise<string[]> {
    const { db } = this.#engine.options.store;
    const rows = await db
      .selectFrom((eb) =>
        eb
          .selectFrom("quotas")
          .select("project_id")
          .union(eb.selectFrom("load_balancers").select("project_id"))
          .as("projects"),
      )
      .select("project_id")
      .where("project_id", ">", after)
      .$if(only !== null, (query) => query.where("project_id", "=", only ?? ""))
      .orderBy("project_id")
      .limit(most)
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
    patch[name] = value === null ? null : Number(readValue(key, quotaAttributes[name], value));
  }
  return patch;
}

/** @throws {ApiError} 400 */
function checkProject(id: string): string {
  if (projectIdRule.safeParse(id).success) return id;
  throw invalidField("project_id", id, "It must be a project's id.");
}
