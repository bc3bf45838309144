/** What Keystone's answers say of a token (Identity API v3, "Authentication and token management"). */
import { z } from "zod";
import type { Caller } from "../../api/identity.ts";

const time = z.string().transform((text, context) => {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) context.addIssue("is no time");
  return ms;
});

const answer = z.object({
  token: z.object({
    issued_at: time,
    expires_at: time,
    user: z.object({ id: z.string().min(1) }),
    project: z.object({ id: z.string().min(1) }).optional(),
    system: z.object({ all: z.boolean().optional() }).optional(),
    // a token without scope has none
    roles: z.array(z.object({ name: z.string() })).default([]),
  }),
});

export interface ShownToken {
  readonly caller: Caller;
  /** both by Keystone's clock, in milliseconds */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** Null when it is not what Keystone answers. */
export function parseToken(body: unknown): ShownToken | null {
  const parsed = answer.safeParse(body);
  if (!parsed.success) return null;
  const { issued_at, expires_at, user, project, system, roles } = parsed.data.token;
  return {
    caller: {
      userId: user.id,
      projectId: project?.id ?? "",
      roles: roles.map(({ name }) => name),
      system: system?.all === true,
    },
    issuedAt: issued_at,
    expiresAt: expires_at,
  };
}

const fault = z.object({ error: z.object({ code: z.number(), message: z.string() }) });

/** The reason that Keystone gives with a refusal; null when it is another who answers. */
export function parseFault(body: unknown): string | null {
  const parsed = fault.safeParse(body);
  return parsed.success ? parsed.data.error.message : null;
}
