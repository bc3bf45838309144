/** What a list is restricted to: a filter on every attribute, and those by tags. */
import { sql } from "kysely";
import type { Attribute } from "../model/attribute.ts";
import type { Resource } from "../model/resource.ts";
import type { Dialect } from "../store/database.ts";
import { ApiError, invalidField, shortened } from "./errors.ts";

export interface Filter {
  readonly column: string;
  /** any of them */
  readonly values: readonly unknown[];
  /** whether the column is a list or an object that is to hold the value, instead of being equal to it */
  readonly within: boolean;
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

/** The attribute that rows can be put in the order of, and that a filter is equal to. */
export function comparable(resource: Resource, name: string): Attribute | undefined {
  const attribute = stored(resource, name);
  return attribute?.column === "json" ? undefined : attribute;
}

function stored(resource: Resource, name: string): Attribute | undefined {
  const field = name === "tenant_id" ? "project_id" : name;
  const attribute = Object.hasOwn(resource.attributes, field) ? resource.attributes[field] : undefined;
  return attribute === undefined || attribute.column === null || attribute.write === "internal" ? undefined : attribute;
}

export function filters(resource: Resource, parameters: URLSearchParams): Filter[] {
  const names = [...new Set(parameters.keys())].filter((name) => !CONTROLS.has(name) && !isTagFilter(name));
  return names.map((name) => {
    const attribute = stored(resource, name);
    if (attribute === undefined) throw new ApiError(400, `Unknown filter for ${resource.plural}: ${shortened(name)}`);
    return {
      column: name === "tenant_id" ? "project_id" : name,
      values: parameters.getAll(name).map((text) => filterValue(name, attribute, text)),
      within: attribute.column === "json",
    };
  });
}

/** Every parameter that restricts a list, with what it is compared with. */
export function filterNames(resource: Resource): { name: string; doc: string }[] {
  const attributes = Object.entries(resource.attributes).filter(
    ([name]) => stored(resource, name) !== undefined && !isTagFilter(name),
  );
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
    if (!("tags" in resource.attributes))
      throw new ApiError(400, `Unknown filter for ${resource.plural}: ${shortened(name)}`);
    const words = parameters.getAll(name).flatMap((each) => each.split(","));
    if (words.some((word) => word.includes("\0"))) throw invalidField(name, words, "It holds control characters.");
    const wanted = [...new Set(words.filter((word) => word !== ""))];
    if (wanted.length === 0) throw invalidField(name, "", "It must be tags, joined by commas.");
    return { ...TAG_FILTERS[name], words: wanted };
  });
}

function filterValue(name: string, attribute: Attribute, text: string): unknown {
  if (attribute.column === "boolean") return parseBoolean(name, text);
  if (attribute.column === "text" || attribute.column === "json") {
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

/** What holds for rows whose list or object has the text in it: as a word, a value, or a name. */
export function holds(dialect: Dialect, column: string, text: unknown) {
  const reference = sql.ref(column);
  return dialect === "postgresql"
    ? sql<boolean>`(${reference} ? ${text}::text or jsonb_path_exists(${reference}, '$.** ? (@ == $text)', jsonb_build_object('text', ${text}::text)))`
    : sql<boolean>`exists (select 1 from json_tree(${reference}) as has where has.atom = ${text} or (has.key = ${text} and has.path = '$'))`;
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
