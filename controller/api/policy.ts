/**
 * Who may do what: Octavia's default policy (octavia/policies/base.py), with Keystone's `reader` beside
 * `load-balancer_observer`.
 */
import { ApiError } from "./errors.ts";
import type { Caller } from "./identity.ts";

/** What is asked for: of a project's load balancers and their parts, of its secrets, its quota, or of the deployment. */
export type Action = "read" | "write" | "read-secrets" | "write-secrets" | "read-quota" | "write-quota" | "administer";

const ADMIN = ["admin", "load-balancer_admin"];
const READ_ALL = [...ADMIN, "load-balancer_global_observer"];
const WRITE_OWN = ["load-balancer_member"];
const READ_OWN = [...WRITE_OWN, "load-balancer_observer", "reader"];
/** With those of Barbican (barbican/common/policies/base.py): who may use its API may use this one. */
const WRITE_SECRETS = [...ADMIN, ...WRITE_OWN, "member", "creator"];
const READ_SECRETS = [...WRITE_SECRETS, ...READ_OWN, "observer"];
const QUOTA_ADMIN = "load-balancer_quota_admin";

/** Which roles suffice for every project, and which for the caller's own. */
const RULES: Readonly<Record<Action, { readonly everywhere: readonly string[]; readonly own: readonly string[] }>> = {
  read: { everywhere: READ_ALL, own: READ_OWN },
  write: { everywhere: ADMIN, own: WRITE_OWN },
  "read-secrets": { everywhere: [], own: READ_SECRETS },
  "write-secrets": { everywhere: [], own: WRITE_SECRETS },
  "read-quota": { everywhere: [...READ_ALL, QUOTA_ADMIN], own: READ_OWN },
  "write-quota": { everywhere: [...ADMIN, QUOTA_ADMIN], own: [] },
  administer: { everywhere: ADMIN, own: [] },
};

/** Every role that means something here. */
export const ROLES = [
  ...new Set(Object.values(RULES).flatMap(({ everywhere, own }) => [...everywhere, ...own])),
] as const;

/** Whether the caller may do it to what belongs to any project. */
export function mayEverywhere(caller: Caller, action: Action): boolean {
  if (caller.system && caller.roles.includes("reader") && (action === "read" || action === "read-quota")) return true;
  return RULES[action].everywhere.some((role) => caller.roles.includes(role));
}

/** Whether the caller may do it to what belongs to the caller's project. */
export function mayInOwnProject(caller: Caller, action: Action): boolean {
  return caller.projectId !== "" && RULES[action].own.some((role) => caller.roles.includes(role));
}

/**
 * @param projectId whose it is; absent: nobody's, such as a flavor
 * @throws {ApiError} 403
 */
export function authorize(caller: Caller, action: Action, projectId: string = caller.projectId): void {
  if (mayEverywhere(caller, action)) return;
  if (projectId === caller.projectId && mayInOwnProject(caller, action)) return;
  throw new ApiError(403, "Policy does not allow this request to be performed.");
}
