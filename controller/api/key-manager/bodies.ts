/** What clients may write to the key manager: Barbican's schemas (barbican/common/validators.py). */
import { z } from "zod";
import { plainText } from "../../model/attribute.ts";
import { parseReference } from "../../model/secret-reference.ts";
import { timestamp } from "../../store/rows.ts";
import { ApiError, shortened } from "../errors.ts";

const name = plainText(255);

export const SECRET_TYPES = ["symmetric", "public", "private", "passphrase", "certificate", "opaque"] as const;
export const CONTAINER_TYPES = ["generic", "rsa", "certificate"] as const;

/** Which names a container's secrets must and may have; absent: any. */
const SECRETS_OF: Partial<
  Record<(typeof CONTAINER_TYPES)[number], { must: readonly string[]; may: readonly string[] }>
> = {
  rsa: { must: ["public_key", "private_key"], may: ["private_key_passphrase"] },
  certificate: { must: ["certificate"], may: ["private_key", "private_key_passphrase", "intermediates"] },
};

/** ISO 8601; without a zone it is UTC. Kept as other times are. */
const time = z
  .union([z.iso.datetime({ local: true, offset: true }), z.iso.date()], "must be a time, such as 2030-12-31T23:59:59")
  .transform((text) =>
    timestamp(Date.parse(/(Z|[+-]\d\d:\d\d)$/.test(text) || !text.includes("T") ? text : `${text}Z`)),
  );

/** A time that a list is to be filtered by. @throws {ApiError} 400 */
export function parseTime(parameter: string, text: string): string {
  const parsed = time.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new ApiError(
    400,
    `Invalid parameter ${parameter}: '${shortened(text)}' is no time, such as 2030-12-31T23:59:59.`,
  );
}

export const secretBody = z.strictObject({
  name: name.nullish(),
  secret_type: z.enum(SECRET_TYPES).default("opaque"),
  algorithm: name.nullish(),
  bit_length: z.int().min(1).max(32_767).nullish(),
  mode: name.nullish(),
  expiration: time.refine((at) => at > timestamp(), "is in the past").nullish(),
  payload: z.string().nullish(),
  payload_content_type: z.string().nullish(),
  payload_content_encoding: z.enum(["base64"]).nullish(),
});

/** The id of a secret, from its URL or itself. */
const secretRef = z.string().transform((text, context) => {
  const named = parseReference(text);
  if (named !== null && named.kind !== "container") return named.id;
  context.addIssue({
    code: "custom",
    message: "must be the URL of a secret, which ends in /secrets/UUID",
    input: text,
  });
  return z.NEVER;
});

export const containerSecretBody = z.strictObject({
  name: name.nullish().transform((given) => given ?? ""),
  secret_ref: secretRef,
});

export const containerBody = z
  .strictObject({
    name: name.nullish(),
    type: z.enum(CONTAINER_TYPES),
    secret_refs: z.array(containerSecretBody).max(100).default([]),
  })
  .superRefine(({ type, secret_refs: refs }, context) => {
    const fault = (message: string) =>
      context.addIssue({ code: "custom", message, path: ["secret_refs"], input: refs });
    const names = new Set(refs.map((each) => each.name));
    if (names.size < refs.length) fault("holds a name twice");
    if (new Set(refs.map((each) => each.secret_ref)).size < refs.length) fault("holds a secret twice");
    const { must = [], may = [] } = SECRETS_OF[type] ?? {};
    if (SECRETS_OF[type] === undefined || refs.length === 0) return;
    if (!must.every((each) => names.has(each))) fault(`must hold ${must.join(" and ")} for type ${type}`);
    const allowed = [...must, ...may];
    if (![...names].every((each) => allowed.includes(each))) fault(`may hold ${allowed.join(", ")} for type ${type}`);
  });

const users = z.array(name.min(1)).max(1000);
/** What is left out of a PUT has its default, out of a PATCH stays as it was. */
export const aclBody = z.strictObject({
  read: z.strictObject({ users: users.optional(), "project-access": z.boolean().optional() }).optional(),
});

export const secretConsumerBody = z.strictObject({
  service: name.min(1),
  resource_type: name.min(1),
  resource_id: name.min(1),
});
/** `URL` is only shown, never asked. */
export const containerConsumerBody = z.strictObject({ name: plainText(36).min(1), URL: name.min(1) });

/** @throws {ApiError} 400 naming the property, and never its value */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.join(".") ?? "";
  const unknown = issue?.code === "unrecognized_keys" ? issue.keys.join(", ") : null;
  if (unknown !== null)
    throw new ApiError(
      400,
      `Invalid property ${shortened([path, unknown].filter(Boolean).join("."))}: There is no such property.`,
    );
  const message = issue?.message ?? "is not valid";
  throw new ApiError(
    400,
    `Invalid property ${shortened(path)}: ${message.charAt(0).toUpperCase()}${message.slice(1)}.`,
  );
}
