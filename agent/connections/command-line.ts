/** The options by which connections are shown: those of `amphora-agent connections`, and of the controller's command. */
import { parseArgs } from "node:util";
import { messageOf } from "../faults.ts";
import { CONNECTION_FILTERS, FilterError, parseFilter } from "./protocol.ts";

/** What is wrong with how the command was called. */
export class ConnectionsUsageError extends Error {
  override readonly name = "ConnectionsUsageError";
}

export interface ViewOptions {
  /** the filters, in the words of a request */
  readonly query: URLSearchParams;
  readonly follow: boolean;
  readonly top: boolean;
  readonly json: boolean;
  /** seconds */
  readonly interval: number;
  /** rows; null: as many as is usual */
  readonly limit: number | null;
}

export interface CommandLine<Own extends string> {
  readonly view: ViewOptions;
  readonly own: Readonly<Record<Own, string | undefined>>;
  readonly positionals: readonly string[];
}

const text = { type: "string" } as const;
const flag = { type: "boolean", default: false } as const;
const VIEW = { follow: flag, top: flag, json: flag, interval: text, limit: text } as const;

/** @param own further options of the command, each with a value @throws {ConnectionsUsageError} */
export function parseConnectionsArgs<Own extends string>(
  args: readonly string[],
  own: readonly Own[],
): CommandLine<Own> {
  const names = new Map(CONNECTION_FILTERS.map((field) => [field.replaceAll("_", "-"), field]));
  const { values, positionals } = parsed(args, [...names.keys(), ...own]);
  const given = (name: string) => {
    const value = (values as Readonly<Record<string, unknown>>)[name];
    return typeof value === "string" ? value : undefined;
  };
  const { follow, top, json } = values;
  if (top && json) throw new ConnectionsUsageError("--top and --json exclude each other");
  const filters = [...names].flatMap(([name, field]) => {
    const value = given(name);
    return value === undefined ? [] : [[field, value] as const];
  });
  checkFilters(Object.fromEntries(filters));
  return {
    view: {
      query: new URLSearchParams(Object.fromEntries(filters)),
      follow,
      top,
      json,
      interval: number(values.interval, "interval", 3600) ?? 2,
      limit: number(values.limit, "limit", 100_000),
    },
    own: Object.fromEntries(own.map((name) => [name, given(name)])) as Record<Own, string | undefined>,
    positionals,
  };
}

function parsed(args: readonly string[], texts: readonly string[]) {
  const options = { ...Object.fromEntries(texts.map((name) => [name, text])), ...VIEW };
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    throw new ConnectionsUsageError(messageOf(error));
  }
}

function checkFilters(filters: Parameters<typeof parseFilter>[0]): void {
  try {
    parseFilter(filters);
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw new ConnectionsUsageError(`--${error.field.replaceAll("_", "-")}${error.message.slice(error.field.length)}`);
  }
}

function number(given: string | undefined, name: string, most: number): number | null {
  if (given === undefined) return null;
  if (/^[1-9]\d{0,5}$/.test(given) && Number(given) <= most) return Number(given);
  throw new ConnectionsUsageError(`--${name} must be a number from 1 to ${most}`);
}
