/** Where the key manager's objects are, as its answers say it. */
import type { Context } from "koa";
import type { Window } from "../../store/secrets.ts";
import { origin, parameters } from "../requests.ts";

export const KEY_MANAGER = "/key-manager";
export const V1 = `${KEY_MANAGER}/v1`;

export type Plural = "secrets" | "containers";

/** The URL of one secret or container. */
export function hrefOf(context: Context, plural: Plural, id: string): string {
  return `${origin(context)}${V1}/${plural}/${id}`;
}

/** The total of a list, and links to the pages before and after a window. */
export function paging(context: Context, { limit, offset }: Window, total: number): Record<string, unknown> {
  const link = (start: number) => {
    const query = parameters(context);
    query.set("limit", String(limit));
    query.set("offset", String(start));
    return `${origin(context)}${context.path}?${query}`;
  };
  return {
    total,
    ...(offset > 0 ? { previous: link(Math.max(0, offset - limit)) } : {}),
    ...(total > offset + limit && limit > 0 ? { next: link(offset + limit) } : {}),
  };
}
