/** Rows as clients see them. */
import type { Resource } from "../model/resource.ts";
import { asRow, type Connection } from "../store/rows.ts";
import type { PartRules } from "./rules/rules.ts";

/** Attributes that are worked out from other rows, by the row's id. */
export type Views = (
  db: Connection,
  rows: readonly Record<string, unknown>[],
) => Promise<ReadonlyMap<string, Record<string, unknown>>>;

export const noViews: Views = async () => new Map();

export function viewsOf<R extends Resource>(rules: PartRules<R>): Views {
  return (db, rows) =>
    rules.views(
      db,
      rows.map((row) => asRow(rules.resource, row)),
    );
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
