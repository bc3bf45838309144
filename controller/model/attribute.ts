/**
 * How an attribute of an API resource is declared. Everything else follows from the declaration: what a body may hold,
 * the column it is kept in, the answer, the filters of a list, and the description of the API.
 */
import { z } from "zod";
import { uuid } from "../../templates/fields.ts";

export type Column = "text" | "integer" | "real" | "boolean" | "json";

export interface Attribute<T = unknown, C extends Column | null = Column | null> {
  /** accepts a value as a client writes it, and gives it as it is stored and answered */
  readonly schema: z.ZodType<T>;
  /** null: not stored, but worked out from other rows */
  readonly column: C;
  /** who may set it: clients at creation, clients at any time, only this program, or nobody outside it even sees it */
  readonly write: "create" | "always" | "never" | "internal";
  readonly required: boolean;
  readonly nullable: boolean;
  /** what an attribute that was left out, or set to null, gets; undefined: there is none */
  readonly default: T | undefined;
  /** may be written, but is not in answers */
  readonly hidden: boolean;
  readonly doc: string;
}

export type Attributes = Readonly<Record<string, Attribute>>;

/** The values that a resource's row holds: what is stored, without what is worked out. */
export type Values<A extends Attributes> = {
  -readonly [K in keyof A as A[K] extends Attribute<unknown, Column> ? K : never]: A[K] extends Attribute<infer T>
    ? T
    : never;
};

interface Options<T> {
  readonly doc: string;
  readonly write?: Attribute["write"];
  readonly hidden?: boolean;
  readonly required?: boolean;
  readonly default?: T;
}

function declare<T, C extends Column | null>(
  schema: z.ZodType<T>,
  column: C,
  options: Options<T>,
  nullable: boolean,
): Attribute<T, C> {
  const write = options.write ?? "always";
  const byClient = write === "always" || write === "create";
  return {
    schema,
    column,
    write,
    required: options.required ?? (byClient && options.default === undefined && !nullable),
    nullable,
    default: options.default,
    hidden: options.hidden ?? write === "internal",
    doc: options.doc,
  };
}

/** Text without control characters: no value may break a line, end a string, or be refused by a database. */
export function plainText(max: number) {
  return (
    z
      .string()
      .max(max)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to refuse
      .refine((text) => text.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(text), "holds control characters")
  );
}

/** Clients send whole numbers as numbers or as decimal strings. */
function wholeNumber<T>(schema: z.ZodType<T>) {
  return z.preprocess(
    (value) => (typeof value === "string" && /^-?\d{1,15}$/.test(value) ? Number(value) : value),
    schema,
  );
}

const MAX_JSON_TEXT = 4096;

/** An object, or JSON text of one; kept as text, which stays as it was given. */
export function jsonText(schema: z.ZodObject): z.ZodType<string> {
  const written = z.unknown().transform((given, context) => {
    const text = typeof given === "string" ? given : JSON.stringify(given);
    const fault = (message: string, path: PropertyKey[] = []) => {
      context.addIssue({ code: "custom", message, path, input: given });
      return z.NEVER;
    };
    if (text === undefined || text.length > MAX_JSON_TEXT) {
      return fault(`must be an object, or JSON text of one, of at most ${MAX_JSON_TEXT} characters`);
    }
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return fault("must be an object, or JSON text of one");
    }
    const issue = schema.safeParse(value).error?.issues[0];
    if (issue === undefined) return text;
    const allowed = issue.code === "unrecognized_keys" ? `; allowed are ${Object.keys(schema.shape).join(", ")}` : "";
    return fault(`${issue.message}${allowed}`, issue.path);
  });
  return written.pipe(z.string());
}

type Optional<T> = Omit<Options<T | null>, "default">;

export const text = (schema: z.ZodType<string>, options: Options<string>) => declare(schema, "text", options, false);

export const optionalText = <T extends string>(schema: z.ZodType<T>, options: Optional<T>) =>
  declare<T | null, "text">(schema.nullable(), "text", { ...options, default: null }, true);

export const integer = (schema: z.ZodType<number>, options: Options<number>) =>
  declare<number, "integer">(wholeNumber(schema), "integer", options, false);

export const optionalInteger = <T extends number>(schema: z.ZodType<T>, options: Optional<T>) =>
  declare<T | null, "integer">(wholeNumber(schema.nullable()), "integer", { ...options, default: null }, true);

export const optionalReal = <T extends number>(schema: z.ZodType<T>, options: Optional<T>) =>
  declare<T | null, "real">(schema.nullable(), "real", { ...options, default: null }, true);

export const flag = (options: Options<boolean>) => declare(z.boolean(), "boolean", options, false);

export const oneOf = <const V extends readonly [string, ...string[]]>(values: V, options: Options<V[number]>) =>
  declare<V[number], "text">(z.enum(values), "text", options, false);

export const json = <T>(schema: z.ZodType<T>, options: Options<T>) => declare(schema, "json", options, false);

export const optionalJson = <T>(schema: z.ZodType<T>, options: Optional<T>) =>
  declare<T | null, "json">(schema.nullable(), "json", { ...options, default: null }, true);

/** A list of distinct words out of a few. */
export function someOf<const V extends readonly [string, ...string[]]>(values: V) {
  return z
    .array(z.enum(values))
    .min(1)
    .refine((list) => new Set(list).size === list.length, "holds a value twice");
}

/** A reference given at creation that decides where the object goes; not kept under this name. */
export const placement = (doc: string) =>
  declare<string | null, null>(uuid.nullable(), null, { write: "create", hidden: true, default: null, doc }, true);

/** Worked out when the resource is shown. */
export const derived = <T>(schema: z.ZodType<T>, doc: string) => declare(schema, null, { doc, write: "never" }, false);

/** A list of `{id}` of related resources. */
export const references = (doc: string) => derived(z.array(z.strictObject({ id: z.string() })), doc);
