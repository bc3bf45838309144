/** What a list is restricted to: a filter on every attribute, and those by tags. */
import { sql } from "kysely";
import type { Attribute } from "../model/attribute.ts";
import type { Resource } from "../model/resource.ts";
import type { Dialect } from "../store/database.ts";
import { ApiError, invalidField } from "./errors.ts";

export interface Filter {
  readonly column: string;
  /** any of them */
  readonly values: readonly unknown[];
}

const CONTROLS = new Set(["fields", "limit", "marker", "sort", "sort_key", "sort_dir", "page_reverse"]);

/** How a list can be restricted by tags (Octavia, "Filtering by tags"). */
const TAG_FILTERS = {
  tags: { all: true, not: false },
  "tags-any": { all: false, not: false },
  "not-tags": { all: true, not: true },
  "not-tags-any": { all: false, not: true },
} as const;

export interface TagFilter {
  readonly words: readonly string[];
  /** whether each of the words must be there, or one of them */
  readonly all: boolean;
  readonly not: boolean;
}

export function filterable(resource: Resource, name: string): Attribute | undefined {
  const field = name === "tenant_id" ? "project_id" : name;
  const attribute = Object.hasOwn(resource.attributes, field) ? resource.attributes[field] : undefined;
  const usable = attribute !== undefined && attribute.column !== null && attribute.column !== "json";
  return usable && attribute.write !== "internal" ? attribute : undefined;
}

export function filters(resource: Resource, parameters: URLSearchParams): Filter[] {
  const names = [...new Set(parameters.keys())].filter((name) => !CONTROLS.has(name) && !isTagFilter(name));
  return names.map((name) => {
    const attribute = filterable(resource, name);
    if (attribute === undefined) throw new ApiError(400, `Unknown filter for ${resource.plural}: ${name}`);
    return {
      column: name === "tenant_id" ? "project_id" : name,
      values: parameters.getAll(name).map((text) => filterValue(name, attribute, text)),
    };
  });
}

/** Every parameter that restricts a list, with what it is compared with. */
export function filterNames(resource: Resource): { name: string; doc: string }[] {
  const attributes = Object.entries(resource.attributes).filter(([name]) => filterable(resource, name) !== undefined);
  const byTags = "tags" in resource.attributes ? Object.keys(TAG_FILTERS) : [];
  return [
    ...attributes.map(([name, { doc }]) => ({ name, doc })),
    ...byTags.map((name) => ({ name, doc: "Tags, joined by commas." })),
  ];
}

function isTagFilter(name: string): name is keyof typeof TAG_FILTERS {
  return Object.hasOwn(TAG_FILTERS, name);
}

/** `tags=red,blue`: both of them. */
export function tagFilters(resource: Resource, parameters: URLSearchParams): TagFilter[] {
  return [...new Set(parameters.keys())].filter(isTagFilter).map((name) => {
    if (!("tags" in resource.attributes)) throw new ApiError(400, `Unknown filter for ${resource.plural}: ${name}`);
    const words = parameters.getAll(name).flatMap((each) => each.split(","));
    if (words.some((word) => word.includes("\0"))) throw invalidField(name, words, "It holds control characters.");
    return { ...TAG_FILTERS[name], words: [...new Set(words.filter((word) => word !== ""))] };
  });
}

function filterValue(name: string, attribute: Attribute, text: string): unknown {
  if (attribute.column === "boolean") return parseBoolean(name, text);
  if (attribute.column === "text") {
    if (text.includes("\0")) throw invalidField(name, text, "It holds control characters.");
    return text;
  }
  const number = /^-?\d{1,10}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN;
  if (attribute.column === "real" && !Number.isNaN(number)) return number;
  // as the databases' integers are
  if (number === (number | 0)) return number;
  throw invalidField(name, text, "It must be a number of at most 32 bits.");
}

/** @throws {ApiError} 400 */
export function parseBoolean(name: string, text: string): boolean {
  const lower = text.toLowerCase();
  if (lower === "true" || lower === "1") return true;
  if (lower === "false" || lower === "0") return false;
  throw invalidField(name, text, "It must be true or false.");
}

/** What holds for rows that a filter by tags lets through. */
export function tagged(dialect: Dialect, { words, all, not }: TagFilter) {
  const list = JSON.stringify(words);
  const column = sql.ref("tags");
  const given = sql`(select value from json_each(${list}))`;
  const any =
    dialect === "postgresql"
      ? sql<boolean>`exists (select 1 from jsonb_array_elements_text(${column}) as has where has in (select jsonb_array_elements_text(${list}::jsonb)))`
      : sql<boolean>`exists (select 1 from json_each(${column}) as has where has.value in ${given})`;
  const each =
    dialect === "postgresql"
      ? sql<boolean>`${column} @> ${list}::jsonb`
      : sql<boolean>`not exists (select 1 from json_each(${list}) as wanted where wanted.value not in (select value from json_each(${column})))`;
  const found = all ? each : any;
  return not ? sql<boolean>`not (${found})` : found;
}
