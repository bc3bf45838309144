/** Lists: what is asked for, its order, its pages; the same for all resources. */
import { type SelectQueryBuilder, sql } from "kysely";
import type { Attribute } from "../model/attribute.ts";
import type { Resource } from "../model/resource.ts";
import type { Dialect } from "../store/database.ts";
import { type Connection, columnsOf, findRow, untyped } from "../store/rows.ts";
import { invalidField } from "./errors.ts";
import {
  comparable,
  type Filter,
  filters,
  holds,
  parseBoolean,
  type TagFilter,
  tagFilters,
  tagged,
} from "./filters.ts";

export const MAX_PAGE = 1000;

export interface ListQuery {
  readonly filters: readonly Filter[];
  readonly tags: readonly TagFilter[];
  readonly sort: readonly { readonly column: string; readonly descending: boolean }[];
  readonly limit: number;
  readonly marker: string | null;
  readonly reverse: boolean;
  /** null: all */
  readonly fields: ReadonlySet<string> | null;
}

/** @throws {ApiError} 400 naming the parameter that is unknown or has a value it can't have */
export function parseListQuery(resource: Resource, parameters: URLSearchParams): ListQuery {
  return {
    filters: filters(resource, parameters),
    tags: tagFilters(resource, parameters),
    sort: sort(resource, parameters),
    limit: limit(parameters),
    marker: parameters.get("marker"),
    reverse: parseBoolean("page_reverse", parameters.get("page_reverse") ?? "false"),
    fields: fields(parameters),
  };
}

/** `fields=id&fields=name` or `fields=id,name`; null: all. */
export function fields(parameters: URLSearchParams): ReadonlySet<string> | null {
  const wanted = parameters.getAll("fields").flatMap((each) => each.split(","));
  return wanted.length === 0 ? null : new Set(wanted);
}

export function limit(parameters: URLSearchParams): number {
  const text = parameters.get("limit");
  if (text === null) return MAX_PAGE;
  if (!/^[1-9]\d{0,8}$/.test(text)) throw invalidField("limit", text, "It must be a whole number of at least 1.");
  return Math.min(Number(text), MAX_PAGE);
}

/** `sort=name:desc,id`, or the pairs of sort_key and sort_dir. The id is always last, so that pages do not overlap. */
function sort(resource: Resource, parameters: URLSearchParams): ListQuery["sort"] {
  const list = (name: string) => parameters.getAll(name).flatMap((each) => each.split(","));
  const [keys, directions] = [list("sort_key"), list("sort_dir")];
  const words = [...list("sort"), ...keys.map((key, i) => `${key}:${directions[i] ?? "asc"}`)].filter(
    (word) => word !== "",
  );
  const usual = "created_at" in resource.attributes ? "created_at" : resource.key;
  const order = (words.length > 0 ? words : [usual]).map((word) => {
    const [key = "", given = "asc", ...rest] = word.split(":");
    const direction = given.toLowerCase();
    if (comparable(resource, key) === undefined)
      throw invalidField("sort", key, "There is nothing of that name to sort by.");
    if (rest.length > 0 || (direction !== "asc" && direction !== "desc")) {
      throw invalidField("sort", word, "The direction must be asc or desc.");
    }
    return { column: key === "tenant_id" ? "project_id" : key, descending: direction === "desc" };
  });
  const unique = order.filter((each, i) => order.findIndex((other) => other.column === each.column) === i);
  const last = { column: resource.key, descending: false };
  return unique.some((each) => each.column === last.column) ? unique : [...unique, last];
}

export interface Page {
  readonly rows: readonly Record<string, unknown>[];
  /** of the rows, also when only other fields of them are shown */
  readonly ids: readonly string[];
  readonly more: boolean;
}

type Query = SelectQueryBuilder<Record<string, Record<string, unknown>>, string, Record<string, unknown>>;

/**
 * One page of rows: one query, and one more for the marker.
 * @param fixed columns that must have these values whatever the client filters by
 * @throws {ApiError} 400 when the marker is no row's id
 */
export async function selectPage(
  connection: Connection,
  dialect: Dialect,
  resource: Resource,
  query: ListQuery,
  fixed: Readonly<Record<string, unknown>>,
): Promise<Page> {
  const db = untyped(connection);
  let select: Query = db.selectFrom(resource.table).select(columnsOf(resource));
  for (const [column, value] of Object.entries(fixed)) select = select.where(column, "=", value);
  for (const { column, values, within } of query.filters) {
    select = within
      ? select.where((eb) => eb.or(values.map((value) => holds(dialect, column, value))))
      : select.where(column, "in", values);
  }
  for (const filter of query.tags) select = select.where(tagged(dialect, filter));
  if (query.marker !== null) select = await after(connection, resource, query, select, query.marker);
  for (const { column, descending } of query.sort) {
    select = select.orderBy(sortable(resource, column), descending === query.reverse ? "asc" : "desc");
  }
  const found = await select.limit(query.limit + 1).execute();
  const rows = found.slice(0, query.limit);
  if (query.reverse) rows.reverse();
  return { rows, ids: rows.map((row) => String(row[resource.key])), more: found.length > query.limit };
}

/** Restricts the query to what comes after the row with that id, in the order of the query. */
async function after(
  connection: Connection,
  resource: Resource,
  { sort, reverse }: ListQuery,
  select: Query,
  marker: string,
): Promise<Query> {
  const last: Readonly<Record<string, unknown>> | undefined = await findRow(connection, resource, marker);
  if (last === undefined) throw invalidField("marker", marker, `There is no ${resource.title} of that id.`);
  return select.where((eb) =>
    eb.or(
      sort.map(({ column, descending }, i) =>
        eb.and([
          ...sort
            .slice(0, i)
            .map((before) => eb(sortable(resource, before.column), "=", sortValue(resource, last, before.column))),
          eb(sortable(resource, column), descending === reverse ? ">" : "<", sortValue(resource, last, column)),
        ]),
      ),
    ),
  );
}

/** Databases disagree on where null stands in an order: it counts as the least of texts and numbers. */
function sortable(resource: Resource, column: string) {
  const attribute = resource.attributes[column];
  if (!attribute?.nullable) return sql.ref<unknown>(column);
  return sql<unknown>`coalesce(${sql.ref(column)}, ${sql.lit(leastOf(attribute))})`;
}

function sortValue(resource: Resource, row: Readonly<Record<string, unknown>>, column: string): unknown {
  const attribute = resource.attributes[column];
  return row[column] ?? (attribute === undefined ? null : leastOf(attribute));
}

function leastOf(attribute: Attribute): string | number {
  return attribute.column === "text" ? "" : -1;
}

/** Links to the pages before and after, as Octavia writes them. */
export function pageLinks(
  page: Page,
  query: ListQuery,
  url: string,
  parameters: URLSearchParams,
): { rel: string; href: string }[] {
  const links: { rel: string; href: string }[] = [];
  const link = (rel: string, marker: string, reverse: boolean) => {
    const target = new URLSearchParams(parameters);
    target.set("limit", String(query.limit));
    target.set("marker", marker);
    target.delete("page_reverse");
    if (reverse) target.set("page_reverse", "True");
    links.push({ rel, href: `${url}?${target}` });
  };
  const forward = query.reverse ? query.marker !== null : page.more;
  const backward = query.reverse ? page.more : query.marker !== null;
  const [first, last] = [page.ids.at(0), page.ids.at(-1)];
  if (forward && last !== undefined) link("next", last, false);
  if (backward && first !== undefined) link("previous", first, true);
  return links;
}
