/** Who is calling. */

/** A person or program that has shown a valid token. */
export interface Caller {
  readonly userId: string;
  readonly projectId: string;
  readonly roles: readonly string[];
}

export interface IdentityDriver {
  /** Whose token it is; null: nobody's. */
  authenticate(token: string): Promise<Caller | null>;
}

/** May see and change what belongs to every project. */
export function isAdmin(caller: Caller): boolean {
  return caller.roles.includes("admin") || caller.roles.includes("load-balancer_admin");
}
