/** What operations are described with. */
import type { Schema } from "./schemas.ts";

export type Operation = Record<string, unknown>;
/** path -> method -> operation */
export type Paths = Record<string, Record<string, Operation>>;

export function json(schema: Schema) {
  return { "application/json": { schema } };
}

/** Parameters of a path, each a text. */
export function inPath(path: string): Schema[] {
  return [...path.matchAll(/[:{]([a-z0-9_]+)\}?/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
}

const FAULT = { $ref: "#/components/responses/Fault" };

/** @param success its status, and what it answers; null: nothing */
export function operation(
  summary: string,
  parameters: readonly Schema[],
  success: readonly [status: number, answer: Schema | null],
  body?: Schema,
): Operation {
  const [status, answer] = success;
  return {
    summary,
    parameters,
    ...(body === undefined ? {} : { requestBody: { required: true, content: json(body) } }),
    responses: {
      [status]: { description: "Done.", ...(answer === null ? {} : { content: json(answer) }) },
      default: FAULT,
    },
  };
}

/** An object with one key. */
export function under(key: string, schema: Schema): Schema {
  return { type: "object", properties: { [key]: schema }, required: [key] };
}
