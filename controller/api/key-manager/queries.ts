/** What clients may ask of lists in the key manager's API. */
import type { DateField, SecretQuery, SortField, Window } from "../../store/secrets.ts";
import { ApiError, shortened } from "../errors.ts";
import { parseTime } from "./bodies.ts";

/** As in Barbican. */
const USUAL_PAGE = 10;
const LARGEST_PAGE = 100;

/** @throws {ApiError} 400 */
export function windowOf(parameters: URLSearchParams): Window {
  const limit = whole(parameters, "limit") ?? USUAL_PAGE;
  return { limit: Math.min(limit, LARGEST_PAGE), offset: whole(parameters, "offset") ?? 0 };
}

/** Parameters that are none are passed over, as in Barbican. @throws {ApiError} 400 */
export function secretQuery(parameters: URLSearchParams, projectId: string): SecretQuery {
  if (parameters.get("acl_only")?.toLowerCase() === "true") {
    throw new ApiError(400, "Invalid parameter acl_only: secrets of other projects can't be listed.");
  }
  const bits = whole(parameters, "bits");
  return {
    projectId,
    equal: {
      ...textOf(parameters, "name", "name"),
      ...textOf(parameters, "alg", "algorithm"),
      ...textOf(parameters, "mode", "mode"),
      ...textOf(parameters, "secret_type", "secret_type"),
      ...(bits ? { bit_length: bits } : {}),
    },
    dates: (["created", "updated", "expiration"] as const).flatMap((name) => datesOf(parameters, name)),
    sort: sortOf(parameters),
  };
}

/** A text filter, where it is given, under the column's name. @throws {ApiError} 400 for what no text in a database is */
export function textOf<K extends string>(
  parameters: URLSearchParams,
  name: string,
  column: K,
): Partial<Record<K, string>> {
  const text = parameters.get(name);
  if (text === null || text === "") return {};
  if (text.includes("\0")) throw new ApiError(400, `Invalid parameter ${name}: it holds control characters.`);
  // the one key there is
  return { [column]: text } as Partial<Record<K, string>>;
}

function whole(parameters: URLSearchParams, name: string): number | null {
  const text = parameters.get(name);
  if (text === null || text === "") return null;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new ApiError(400, `Invalid parameter ${name}: '${shortened(text)}' is no whole number of 0 or more.`);
}

const FIELDS = {
  created: "created_at",
  updated: "updated_at",
  expiration: "expiration",
} as const satisfies Record<string, DateField>;
const OPERATORS = { gt: ">", gte: ">=", lt: "<", lte: "<=" } as const;

/** `created=gt:2030-01-01T00:00:00,lte:2030-02-01T00:00:00` */
function datesOf(parameters: URLSearchParams, name: keyof typeof FIELDS): SecretQuery["dates"][number][] {
  const text = parameters.get(name);
  if (text === null || text === "") return [];
  return text.split(",").map((part) => {
    const [, operator, value = part] = /^(gte?|lte?):(.*)$/.exec(part) ?? [];
    const symbol = OPERATORS[operator as keyof typeof OPERATORS] ?? "=";
    return { field: FIELDS[name], operator: symbol, value: parseTime(name, value) };
  });
}

const SORTS: Readonly<Record<string, SortField>> = {
  ...FIELDS,
  algorithm: "algorithm",
  bit_length: "bit_length",
  mode: "mode",
  name: "name",
  secret_type: "secret_type",
};

/** `sort=name:desc,created`; every secret's status is the same. */
function sortOf(parameters: URLSearchParams): SecretQuery["sort"][number][] {
  const text = parameters.get("sort");
  if (text === null || text === "") return [];
  return text.split(",").flatMap((part) => {
    const [key = "", direction = "asc", ...more] = part.split(":");
    const isDirection = direction === "asc" || direction === "desc";
    if (key === "status" && isDirection) return [];
    const field = Object.hasOwn(SORTS, key) ? SORTS[key] : undefined;
    if (field === undefined || !isDirection || more.length > 0) {
      const keys = Object.keys(SORTS).join(", ");
      throw new ApiError(400, `Invalid parameter sort: '${shortened(part)}' is none of ${keys}, with :asc or :desc.`);
    }
    return [{ field, direction }];
  });
}
