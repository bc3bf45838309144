/** What a controller does. Several processes, each with some of the roles, share the work over one PostgreSQL. */
import { z } from "zod";

/** api: the REST API; reconciler: drives amphorae; health: listens to them. */
export const ROLES = ["api", "reconciler", "health"] as const;
export type Role = (typeof ROLES)[number];

const role = z.enum(ROLES);

/** One or more, separated by commas. */
export const roles = z
  .string()
  .refine(
    (text) => text.split(",").every((each) => role.safeParse(each).success),
    `must be one or more of ${ROLES.join(", ")}, separated by commas`,
  );

export function hasRole(settings: { readonly role: string }, wanted: Role): boolean {
  return settings.role.split(",").some((each) => each === wanted);
}
