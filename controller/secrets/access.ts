/**
 * Who may do what with a secret or container: Barbican's rules (barbican/common/policies). The project's members may,
 * unless it is private; users on its list may read it, whatever their project. Nobody may everything everywhere.
 */
import type { Caller } from "../api/identity.ts";
import { mayInOwnProject } from "../api/policy.ts";
import type { SecretRow } from "../store/tables.ts";

/** Its description, its content, and everything that changes it or who may read it. */
export type SecretAction = "read" | "decrypt" | "change";

export interface Acl {
  readonly "project-access": boolean;
  /** ids of users */
  readonly users: readonly string[];
  readonly created: string | null;
  readonly updated: string | null;
}

export const DEFAULT_ACL: Acl = { "project-access": true, users: [], created: null, updated: null };

export type Guarded = Pick<SecretRow, "project_id" | "creator_id" | "acl">;

export function aclOf({ acl }: Guarded): Acl {
  return acl === null ? DEFAULT_ACL : (JSON.parse(acl) as Acl);
}

export function mayOn(caller: Caller, action: SecretAction, guarded: Guarded): boolean {
  const acl = aclOf(guarded);
  if (action !== "change" && acl.users.includes(caller.userId)) return true;
  if (caller.projectId === "" || caller.projectId !== guarded.project_id) return false;
  if (!mayInOwnProject(caller, action === "read" ? "read-secrets" : "write-secrets")) return false;
  return acl["project-access"] || caller.userId === guarded.creator_id || caller.roles.includes("admin");
}
