/** What handlers read of a request besides its body, and how they answer without one. */
import type { Context } from "koa";
import { invalidField } from "./errors.ts";
import { parseBoolean } from "./filters.ts";
import type { Caller } from "./identity.ts";

/** Not Koa's `URL`, which there is none of when the Host header is missing or makes none. */
export function parameters(context: Context): URLSearchParams {
  return new URLSearchParams(context.querystring);
}

/** The scheme and host that the client used. */
export function origin(context: Context): string {
  return `${context.protocol}://${context.host}`;
}

/** Without a body: Koa would write the status in words. */
export function empty(context: Context, status: number): void {
  context.body = null;
  context.status = status;
}

export function caller(context: Context): Caller {
  return context.state.caller;
}

export function id(context: Context): string {
  return String(context.params.id);
}

export function within(context: Context, columns: readonly string[]): Record<string, string> {
  return Object.fromEntries(columns.map((name) => [name, String(context.params[name])]));
}

/** A parameter that is true or false, and false when it is not there. @throws {ApiError} 400 */
export function flagParameter(context: Context, name: string): boolean {
  const text = parameters(context).get(name) ?? "false";
  if (text === "") throw invalidField(name, text, "It must be true or false.");
  return parseBoolean(name, text);
}
